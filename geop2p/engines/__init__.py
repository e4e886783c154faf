"""How a generator is run: the plain torch network, and engines that draw the same sooner."""
