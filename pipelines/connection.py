"""A running Dask scheduler: its address, certificates, and the client that talks to it."""

import ipaddress
import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import dask
from distributed import Client
from distributed.security import Security

from geop2p.errors import OptionError
from geop2p.pipelines.request import Request

logger = logging.getLogger(__name__)

CONNECT_S = 10
_NOISY = ("distributed", "distributed.client", "tornado.application", "asyncio")


@contextmanager
def dask_kept_quiet() -> Iterator[None]:
    """Keep Dask's own log off stderr: what goes wrong is raised where its result is asked for."""

    def is_ours(record: logging.LogRecord) -> bool:
        return not record.name.startswith(("distributed", "tornado", "asyncio"))

    loggers = [logging.getLogger(name) for name in _NOISY]
    places = [*loggers, *(handler for logger in loggers for handler in logger.handlers)]
    for place in places:
        place.addFilter(is_ours)
    try:
        yield
    finally:
        for place in places:
            place.removeFilter(is_ours)


@contextmanager
def connected(request: Request) -> Iterator[Client]:
    """Yield a client of the request's scheduler.

    Raises
    ------
    OptionError
        When the address is none, certificates are missing or unfit, or no scheduler answers.
    """
    address = checked_address(str(request.scheduler))
    security = choose_security(request, address)
    if address.startswith("tcp:") and not _is_loopback(str(urlsplit(address).hostname)):
        logger.warning(
            "%s: whatever is sent is not encrypted, and whoever reaches that port runs programs "
            "there (use tls:// with --tls-ca, --tls-cert and --tls-key)",
            address,
        )
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False, security=security)
    except (OSError, ValueError) as exc:
        raise OptionError(
            f"{address}: no Dask scheduler answers: {_reason(exc)} (check --scheduler)"
        ) from exc
    with client:
        yield client


def checked_address(text: str) -> str:
    """Return a scheduler's address with its protocol.

    Raises
    ------
    OptionError
        When it is no address.
    """
    address = text if "://" in text else f"tcp://{text}"
    try:
        parts = urlsplit(address)
        is_address = parts.scheme in ("tcp", "tls") and bool(parts.hostname and parts.port)
    except ValueError:  # a port that is none
        is_address = False
    if not is_address:
        raise OptionError(
            f"scheduler {text!r} (expected tcp://HOST:PORT or tls://HOST:PORT, as the scheduler "
            "says it when it starts)"
        )
    return address


def choose_security(request: Request, address: str) -> Security | None:
    """Return the certificates for a ``tls://`` address: those given, else those Dask is set to use.

    Raises
    ------
    OptionError
        When a file is missing or unfit, or is given for another protocol.
    """
    given = {"ca": request.tls_ca, "cert": request.tls_cert, "key": request.tls_key}
    files = {name: str(path) for name, path in given.items() if path is not None}
    if not address.startswith("tls:"):
        if files:
            raise OptionError(f"{address}: certificates are for a tls:// scheduler")
        return None
    set_up = {
        "ca": dask.config.get("distributed.comm.tls.ca-file", None),
        "cert": dask.config.get("distributed.comm.tls.client.cert", None),
        "key": dask.config.get("distributed.comm.tls.client.key", None),
    }
    files = {name: path for name, path in set_up.items() if path} | files
    lacking = [f"--tls-{name}" for name in given if name not in files]
    if lacking:
        raise OptionError(f"{address}: tls:// needs {' and '.join(lacking)} (files, PEM)")
    _check_certificates(files)
    return Security(
        require_encryption=True,
        tls_ca_file=files["ca"],
        tls_client_cert=files["cert"],
        tls_client_key=files["key"],
    )


def _check_certificates(files: dict[str, str]) -> None:
    """Load what was given once, so that it is refused by name."""
    for name, path in files.items():
        if not Path(path).is_file():
            raise OptionError(f"{path}: no such file (check --tls-{name})")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(files["ca"])
    except (ssl.SSLError, OSError) as exc:
        raise OptionError(f"{files['ca']}: no certificate in PEM (check --tls-ca)") from exc
    try:
        # an empty password, so that an encrypted key is refused and nobody is asked
        context.load_cert_chain(files["cert"], files["key"], password="")
    except (ssl.SSLError, OSError, ValueError) as exc:
        raise OptionError(
            f"{files['cert']}, {files['key']}: no certificate in PEM with its own unencrypted key "
            f"(check --tls-cert and --tls-key): {_reason(exc)}"
        ) from exc


def _is_loopback(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:  # a name that nobody knows may be anybody's; the client tells why it fails
        return False
    return all(ipaddress.ip_address(str(entry[4][0])).is_loopback for entry in found)


def _reason(exc: BaseException) -> str:
    """Return what the lowest error says, on one line."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    return " ".join(str(exc).split()) or type(exc).__name__
