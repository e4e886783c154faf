"""No secret of a URL and no control character of a name reaches a terminal, a log or a tag."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geop2p.redaction import escaped, escaped_lines, redacted, redacted_facts

SECRET = "c2VjcmV0+/abc~"


@pytest.mark.parametrize(
    "text",
    [
        f"https://host/a.tif?X-Amz-Signature={SECRET}&X-Amz-Expires=60",
        f"https://user:{SECRET.replace('/', '')}@host/a.tif",
        f"/vsicurl/https://host/a.tif?sig={SECRET}",
        f"/vsicurl/https://user:{SECRET.replace('/', '')}@host/a.tif: cannot be opened",
        f"/vsis3/bucket/key.tif?AWSAccessKeyId={SECRET}&Expires=1",
        f"/vsizip//vsicurl/https://host/a.zip?token={SECRET}/a.tif",
        f"/vsicurl?max_retry=3&url=https%3A%2F%2Fhost%2Fa.tif%3Fsig%3D{SECRET}",
        f"'https://host/a.tif?{SECRET}': HTTP 403, (https://host/b?x={SECRET}).",
        f"https://host/a.tif#access_token={SECRET}",
        f"HTTPS://HOST/A?SIG={SECRET}",
        f"s3://bucket/key?versionId={SECRET}",
        f"request with Signature={SECRET}; X-Amz-Security-Token: {SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"https://host/a?sig='{SECRET}'",
    ],
)
def test_secrets_go(text):
    shown = redacted(text)
    assert "c2VjcmV0" not in shown
    assert "***" in shown or "@" in text
    assert redacted(shown) == shown


def test_what_is_no_secret_stays():
    assert redacted("https://u:p@host:80/a b.tif") == "https://host:80/a b.tif"
    assert redacted("https://host/a@2x.tif: gone") == "https://host/a@2x.tif: gone"
    assert redacted("'https://h/a.tif?sig=x', 403") == "'https://h/a.tif?sig=***', 403"
    plain = "/data/a=b?c.tif: tile 100 does not fit (expected: 256)"
    assert redacted(plain) == plain


def test_facts_are_redacted_at_every_depth():
    facts = {"scene": "https://h/a?sig=x", "list": [("https://u:p@h", 3)], "none": None}
    expected = {"scene": "https://h/a?sig=***", "list": [["https://h", 3]], "none": None}
    assert redacted_facts(facts) == expected


def test_what_a_terminal_would_obey_is_shown():
    assert escaped("a\x1b[31mb\nc\td\x9b") == r"a\x1b[31mb\x0ac\x09d\x9b"
    assert escaped("map\u202efit.tif") == r"map\u202efit.tif"
    assert escaped("a\udcffb\U000e0001") == r"a\xffb\U000e0001"
    assert escaped("Größe 多 é.tif") == "Größe 多 é.tif"
    assert escaped_lines("a\x07\nb\r") == "a\\x07\nb\\x0d"


@given(st.text())
def test_every_text_becomes_one_visible_line(text):
    shown = escaped(text)
    assert escaped(shown) == shown
    assert len(shown.splitlines()) <= 1
    shown.encode()


@given(st.text(alphabet="ab:/?#@=&%'\" .*3AfF2", max_size=60))
def test_redacting_is_stable_and_ends(text):
    shown = redacted(f"https://{text}")
    assert redacted(shown) == shown


HOSTILE = "a\x1b[2J\n\u202eb.tif"


def test_the_command_line_shows_hostile_names(tmp_path, run_cli):
    status, out, err = run_cli("info", tmp_path / HOSTILE)
    assert (status, out) == (3, "")
    assert err.count("\n") == 1
    assert err.strip().isprintable()
    status, out, err = run_cli("translate", "x.tif", f"--{HOSTILE}")
    assert status == 2
    assert err.replace("\n", "").isprintable()


def test_results_are_redacted_and_escaped_as_text_and_as_json(capsys):
    from geop2p.cli.output import Output

    facts = {"scene": "https://u:p@h/a?sig=abc", "name": HOSTILE}
    Output(is_json=True).result(facts, text="")
    told = json.loads(capsys.readouterr().out)
    assert told == {"scene": "https://h/a?sig=***", "name": HOSTILE}
    Output().result(facts, text="https://h/a?sig=abc \x1b[0m")
    assert capsys.readouterr().out == "https://h/a?sig=*** \\x1b[0m\n"


def test_a_rasters_facts_are_shown_without_obeying_them(tmp_path, run_cli):
    from scenes import noise, write_scene

    path = write_scene(tmp_path / "a\x1b[31mb.tif", noise(3, 16, 16))
    status, out, _err = run_cli("info", path)
    assert status == 0
    assert "\\x1b[31m" in out
    assert out.replace("\n", "").isprintable()


def test_warnings_and_progress_are_redacted_and_escaped(capsys):
    import logging

    from geop2p.cli import output
    from geop2p.progress import Progress

    logger = logging.getLogger("geop2p")
    kept = logger.handlers, logger.propagate, logger.level
    output._start_logging(debug=False)
    logger.warning("%s", f"https://h/a?sig=abc {HOSTILE}")
    (logger.handlers, logger.propagate), _ = kept[:2], logger.setLevel(kept[2])
    show = output._percent_lines()
    show(Progress(stage="read", done=1, total=1, unit="strips", note=f"{HOSTILE} /vsis3/b/k?x=abc"))
    told = capsys.readouterr().err
    assert told.count("\n") == 2
    assert "abc" not in told
    assert told.replace("\n", "").isprintable()
