"""The documents say what the code does: commands, options, choices, links."""

import importlib
import json
import re
import runpy
import shlex
import subprocess
import tomllib
from dataclasses import fields
from itertools import chain

import click
import pytest
from architecture import FOLDERS, ROOT
from safetensors import safe_open
from scenes import noise, random_model, write_scene

from geop2p.augmentation import AUGMENTATIONS
from geop2p.blend import BLEND_NAMES
from geop2p.bootstrap import DRAWS
from geop2p.card import ModelCard
from geop2p.classification import CLASS_WEIGHTS
from geop2p.cli.main import COMMANDS, geop2p
from geop2p.discriminators import DISCRIMINATORS
from geop2p.engines.choice import ENGINES, PRECISIONS
from geop2p.errors import Geop2pError
from geop2p.losses import GAN_LOSSES
from geop2p.model import DEFAULT_MODEL, bundled_models, find_model
from geop2p.networks import GENERATORS, GeneratorConfig
from geop2p.norms import NORMS
from geop2p.pairs import DIRECTIONS
from geop2p.pipelines.evaluation_request import SPLITS, STATISTICS
from geop2p.pipelines.pair_folder import LAYOUTS
from geop2p.pipelines.request import GSDS
from geop2p.raster.mapformat import FORMATS
from geop2p.raster.scene import MASK_RULES, MAX_PIXELS, READ_ERRORS
from geop2p.upsampling import UPSAMPLINGS

MAKE_DOCS = runpy.run_path(str(ROOT / "docs" / "make_docs.py"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("sample_tiles/**/*.md"), *ROOT.glob("docs/**/*.md")])
CHOICES = {
    ("translate", "blend"): BLEND_NAMES,
    ("translate", "map_format"): FORMATS,
    ("translate", "mask_rule"): MASK_RULES,
    ("translate", "on_read_error"): READ_ERRORS,
    ("translate", "gsd"): GSDS,
    ("translate", "out_gsd"): GSDS,
    ("translate", "engine"): ENGINES,
    ("translate", "precision"): PRECISIONS,
    ("train", "direction"): DIRECTIONS,
    ("train", "gan_mode"): GAN_LOSSES,
    ("train", "class_weights"): CLASS_WEIGHTS,
    ("train", "upsample"): UPSAMPLINGS,
    ("train", "augment"): AUGMENTATIONS,
    ("train", "arch"): GENERATORS,
    ("train", "norm"): NORMS,
    ("train", "discriminator"): DISCRIMINATORS,
    ("prepare", "layout"): LAYOUTS,
    ("evaluate", "split"): SPLITS,
    ("evaluate", "statistics"): STATISTICS,
    ("evaluate", "direction"): DIRECTIONS,
}
MACHINE_PATH = re.compile(r"(?<![\w.~*}-])/(?:root|home|Users|mnt|opt|tmp|work)/\w")
REGISTRY = re.compile(
    r"pypi\.org|pythonhosted|download\.pytorch|conda\.anaconda|(?:extra-)?index-url"
)


def command_of(name):
    return geop2p.get_command(click.Context(geop2p), name)


def options_of(name):
    return {p.name: p for p in command_of(name).params if isinstance(p, click.Option)}


def tracked_texts():
    """Yield the name and the text of every file that git knows and that is text."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        if b"\0" not in content:
            yield name, content.decode()


def commands_in(page):
    """Yield the words after ``geop2p`` in the indented blocks of a page."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^ {4}geop2p ([^\n#]*)", text, re.MULTILINE):
        if "[OPTIONS]" not in line:
            yield shlex.split(line)


def test_the_page_of_the_command_line_is_what_make_docs_writes():
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert page == MAKE_DOCS["command_line"](), "run: make docs"


@pytest.mark.parametrize("page", MAKE_DOCS["SCORED_PAGES"], ids=lambda page: page.name)
def test_tables_of_scores_are_what_cards_and_results_say(page):
    text = page.read_text(encoding="utf-8")
    assert "<!-- scores:" in text
    assert text == MAKE_DOCS["with_scores"](text), "run: make docs"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_an_example_and_its_place_in_the_documents(name):
    command = command_of(name)
    assert command.help
    assert command.epilog.startswith(f"Example: geop2p {name} ")
    assert all(option.help for option in options_of(name).values())
    assert f"\n## geop2p {name}\n" in (ROOT / "docs" / "command-line.md").read_text()
    assert f"geop2p {name}" in README


@pytest.mark.parametrize(("name", "option"), CHOICES)
def test_the_choices_of_an_option_are_those_of_the_library(name, option):
    assert list(options_of(name)[option].type.choices) == list(CHOICES[name, option])


def test_defaults_are_the_librarys():
    assert options_of("translate")["max_pixels"].default == MAX_PIXELS
    assert options_of("translate")["model"].default == DEFAULT_MODEL
    assert options_of("evaluate")["draws"].default == DRAWS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_a_page_is_one_that_geop2p_takes(page):
    for name, *words in commands_in(page):
        assert command_of(name).make_context(name, words)
        samples = [word for word in words if word.startswith("sample_tiles/")]
        assert all((ROOT / sample).exists() for sample in samples), words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8"))
    files = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in files if not (page.parent / link).exists()] == []


def test_exit_statuses_are_documented():
    statuses = {error.exit_status for error in _subclasses(Geop2pError)}
    assert {str(status) for status in statuses} <= MAKE_DOCS["EXIT_STATUSES"].keys()
    assert all(f"{status} " in geop2p.help for status in statuses)


def _subclasses(kind):
    return {kind}.union(*map(_subclasses, kind.__subclasses__()))


@pytest.mark.parametrize("name", MAKE_DOCS["REPORTS"])
def test_every_key_of_a_report_is_documented(name):
    module, report = MAKE_DOCS["REPORTS"][name]
    kind = getattr(importlib.import_module(module), report)
    assert list(MAKE_DOCS["fields_of"](kind)) == [entry.name for entry in fields(kind)]


def test_info_has_the_documented_keys(tmp_path, run_cli):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 20, 20))
    model = random_model(tmp_path / "model.safetensors")
    raster_facts, model_facts = (
        json.loads(run_cli("info", path, "--json")[1]) for path in (scene, model)
    )
    assert raster_facts.keys() == MAKE_DOCS["RASTER_KEYS"].keys()
    assert model_facts.keys() >= MAKE_DOCS["MODEL_KEYS"].keys() - {"..."}


def test_models_has_the_documented_keys(run_cli):
    listed = json.loads(run_cli("models", "--json")[1])
    assert DEFAULT_MODEL in listed
    assert all(facts.keys() == MAKE_DOCS["MODELS_KEYS"].keys() for facts in listed.values())


def test_no_tracked_text_names_a_machines_path_or_a_registry():
    found = {
        name: match.group()
        for name, text in tracked_texts()
        if (match := MACHINE_PATH.search(text) or REGISTRY.search(text))
        and name != "tests/test_docs.py"
    }
    assert found == {}


@pytest.mark.parametrize("name", bundled_models())
def test_no_card_that_ships_names_a_machines_path(name):
    with safe_open(find_model(name), "np") as file:
        told = " ".join(file.metadata().values())
    assert name in told
    assert not MACHINE_PATH.search(told)


def test_the_card_in_the_documents_is_complete():
    page = (ROOT / "docs" / "model-format.md").read_text(encoding="utf-8")
    for entry in (*fields(ModelCard), *fields(GeneratorConfig)):
        assert f"`{entry.name}`" in page


def test_every_module_is_in_the_tree_of_the_architecture():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = page.partition("## The tree")[2].partition("**Imports**")[0]
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    names = {path.name for path in paths if path.name != "__init__.py"}
    assert names == set(re.findall(r"\b(\w+\.py)\b", tree)) - {"__init__.py"}


def test_every_dependency_has_its_reason():
    page = (ROOT / "docs" / "decisions" / "0005-dependencies.md").read_text(encoding="utf-8")
    table = page.partition("**Not taken.**")[0]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {re.match(r"[\w-]+", entry).group() for entry in listed}
    rows = re.findall(r"^\| ([\w, -]+) \|", table, re.MULTILINE)
    assert names == set(", ".join(rows).split(", ")) - {"needed to run", "needed to develop"}
