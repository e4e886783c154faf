"""The facts of a training's card: those that are given, else what the pairs' folder tells."""

import logging
from dataclasses import replace

from geop2p.card import MOST_GSD_FACTOR
from geop2p.facts import CardFacts, read_facts
from geop2p.manifest import read_gsds, read_pairs_palette
from geop2p.pairs import PairSet
from geop2p.pipelines.training_options import RunOptions
from geop2p.style import find_palette

logger = logging.getLogger(__name__)


def given_facts(options: RunOptions, *, known: CardFacts) -> CardFacts:
    """Return the facts of ``--card``, else those known, single options before either.

    Raises
    ------
    OptionError
        When card or palette cannot be read.
    """
    facts = known if options.card is None else read_facts(options.card)
    if options.palette is not None:
        facts = replace(facts, palette=find_palette(options.palette))
    if options.name is not None:
        facts = replace(facts, name=options.name)
    if options.gsd_m is not None:
        facts = replace(facts, gsd_m=options.gsd_m)
    return facts


def completed_facts(facts: CardFacts, pairs: PairSet) -> CardFacts:
    """Return facts whose palette and ground sample distance are the pairs' where none are given.

    What is given is not looked for, so that it helps where the folder's own is damaged.

    Raises
    ------
    PairsError
        When the folder's palette or manifest is damaged.
    """
    if facts.palette is None:
        facts = replace(facts, palette=read_pairs_palette(pairs.folder))
    return facts if facts.gsd_m is not None else replace(facts, gsd_m=common_gsd(pairs))


def common_gsd(pairs: PairSet) -> float | None:
    """Return the mean ground sample distance of the pairs that train, in metres.

    None where it is not known, and, with a warning, where it is for some of them only or differs
    by more than the factor from which on translation warns.

    Raises
    ------
    PairsError
        When the manifest is damaged.
    """
    known = read_gsds(pairs.folder)
    found = [known[pair.name] for pair in pairs.train if pair.name in known]
    if not found:
        return None
    if len(found) < len(pairs.train):
        reason = f"is known of {len(found)} of the {len(pairs.train)} pairs that train"
    elif max(found) > MOST_GSD_FACTOR * min(found):
        reason = f"is {min(found):.3g} to {max(found):.3g} m in the pairs that train"
    else:
        return float(f"{sum(found) / len(found):.6g}")
    logger.warning(
        "%s: the ground sample distance %s, so the model's card will have none (say one with "
        "--gsd METRES, now or with --resume)",
        pairs.folder,
        reason,
    )
    return None
