"""Put measured figures into the documents, between ``<!-- measured:NAME -->`` and ``<!-- end -->``.

    python benchmarks/page.py

Everything comes from `results/`; a block whose file is not there is left as it is.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from markdown_table import table
from recipe_table import recipes, roads_recipes
from record import recorded
from summary import aims

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "docs/performance.md", ROOT / "docs/models.md", ROOT / "README.md")
MARKED = re.compile(r"(<!-- measured:(\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
NAMES = {
    "plain": "plain script",
    "monai": "MONAI",
    "dask": "Dask",
    "torch": "geop2p `--engine torch`, the reference",
    "packed": "geop2p `--engine packed`",
    "int8": "geop2p `--precision int8`",
}
Figures = dict[str, Any]


def main() -> None:
    """Rewrite the marked blocks of every page."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        page.write_text(MARKED.sub(_block, text), encoding="utf-8")


def _block(found: re.Match[str]) -> str:
    source, make = BLOCKS[found[2]]
    content = recorded(source)
    if content is None:
        return found[0]
    return f"{found[1]}\n{make(content).strip()}\n\n{found[4]}"


def translations(content: Figures) -> str:
    """Return the whole commands: a table a model."""
    figures = content["figures"]
    parts = [f"{_source(content)}: {figures['scene']}, overlap {figures['overlap']}."]
    heads = ("", "seconds", "x plain", "with start-up", "CPU seconds", "peak MiB")
    for model, found in figures["models"].items():
        rows = [
            (
                NAMES[name],
                f"{variant['seconds']:.1f}",
                f"{variant['times_plain']:.2f} ({variant['times_plain_median']:.2f})",
                f"{variant['wall_seconds']:.1f}",
                f"{variant['cpu_seconds']:.0f}",
                f"{variant['peak_mib']:.0f}",
                _percent(variant.get("share_not_generator")),
                _apart(variant.get("difference")),
            )
            for name, variant in found["variants"].items()
        ]
        rounds = f"{found['rounds']} round{'s' * (found['rounds'] > 1)}"
        title = f"`{model}`, {found['gflop_a_tile']:.1f} GFLOP a tile, {rounds}:"
        parts += [title, table((*heads, "not generator", "from the reference"), rows)]
        parts += [f"{NAMES[name]}: failed." for name in found["failed"]]
    return "\n\n".join(parts)


def engines(content: Figures) -> str:
    """Return the engines: a table a model."""
    parts = [f"{_source(content)}."]
    heads = ("engine", "ms a tile", "x torch", "GFLOP/s", "of sgemm", "levels that differ", "by")
    for model, found in content["figures"]["models"].items():
        rows = [
            (
                name,
                f"{engine['ms_a_tile']:.1f} ({engine['ms_a_tile_median']:.1f})",
                f"{engine['times_torch']:.2f}",
                f"{engine['gflop_s']:.0f}",
                f"{engine['share_of_sgemm']:.0%}",
                f"{engine['difference']['share_of_values']:.2%}",
                f"at most {engine['difference']['largest_grey_levels']}",
            )
            for name, engine in found["engines"].items()
        ]
        peaks = found["peaks_gflop_s"]
        limits = f"sgemm {peaks['sgemm']:.0f} GFLOP/s"
        if "int8_product" in peaks:
            limits += f", 8-bit product {peaks['int8_product']:.0f}"
        parts += [f"`{model}`; {limits}:", table(heads, rows)]
        parts += [f"`{name}`: could not be made." for name in found["failed"]]
    return "\n\n".join(parts)


def memory(content: Figures) -> str:
    """Return how memory grows with the scene's height."""
    figures = content["figures"]
    low, high = figures["peak_mib_of_2000_rows"], figures["peak_mib_of_20000_rows"]
    return (
        f"{_source(content)}: {low} MiB for 2,000 rows, {high} MiB for 20,000 rows of "
        f"{figures['width']:,} columns by `{figures['model']}`, "
        f"{figures['ratio']:.2f} times as much."
    )


def finish(content: Figures) -> str:
    """Return the ways to finish a map."""
    figures = content["figures"]
    rows = []
    for way, found in figures["map"].items():
        photo = figures["photo"][way]
        rows.append(
            (
                way,
                *(f"{one['cpu_seconds']:.2f}" for one in (found, photo)),
                *(f"{one['megabytes']:.1f}" for one in (found, photo)),
                f"{found['peak_mib']:.0f}",
                "yes" if found["is_cog"] else "no",
            )
        )
    heads = ("way", "map: CPU s", "photo: CPU s", "map: MB", "photo: MB", "peak MiB", "COG")
    return f"{_source(content)}:\n\n{table(heads, rows)}"


def startup(content: Figures) -> str:
    """Return what it costs to start."""
    figures = content["figures"]
    seconds = figures["seconds"]
    whole = f"{seconds['translate']:.1f} s, {figures['translate_minus_torch_and_model']:.1f} s more"
    rows = [
        ("`--help`", f"{figures['help_minus_python']:.2f} s more than `python -c pass`"),
        ("`--version`", f"{figures['version_minus_python']:.2f} s more"),
        (
            f"translate, {figures['side']} x {figures['side']}",
            f"{whole} than importing torch and opening the model",
        ),
    ]
    return f"{_source(content)}:\n\n{table(('', 'least'), rows)}"


def decoding(content: Figures) -> str:
    """Return how fast a scene is read, by form and threads."""
    figures = content["figures"]
    rows = [
        (
            form,
            threads,
            f"{found['megabytes_per_second']:.0f}",
            f"{found['times_one']:.2f} ({found['times_one_median']:.2f})",
        )
        for form, counts in figures["forms"].items()
        for threads, found in counts.items()
    ]
    heads = ("scene", "threads", "MB of pixels a second", "x one thread")
    told = f"{_source(content)}: {figures['scene']}, {figures['rounds']} rounds"
    return f"{told}:\n\n{table(heads, rows)}"


def many(content: Figures) -> str:
    """Return what several scenes take, in one command and in several."""
    figures = content["figures"]
    names = {"single": "a command for each", "one": "one command"}
    rows = [
        (
            names[way],
            f"{min(run['seconds'] for run in runs):.1f}",
            f"{min(run['cpu_seconds'] for run in runs):.1f}",
            f"{max(run['peak_mib'] for run in runs):.0f}",
        )
        for way, runs in figures["rounds"].items()
    ]
    size, count = figures["size"], figures["scenes"]
    equal = "equal byte for byte" if figures["are_maps_equal"] else "NOT EQUAL"
    told = f"{count} scenes of {size} x {size} by `{figures['model']}`, maps {equal}"
    heads = ("", "seconds", "CPU seconds", "peak MiB of a process")
    return f"{_source(content)}: {told}, {figures['ratio']:.2f} times:\n\n{table(heads, rows)}"


def targets(_content: Figures) -> str:
    """Return every figure that something was aimed at, met or missed."""
    rows = [(line.what, line.figure, line.target, line.verdict) for line in aims()]
    return table(("", "measured", "aim", ""), rows)


def training(content: Figures) -> str:
    """Return images per second of both loops."""
    cases = {name: found for name, found in content["figures"].items() if isinstance(found, dict)}
    rows = [
        (
            name.replace("_", " "),
            str(found["ngf"]),
            *(f"{found['images_per_second'][loop]:.2f}" for loop in ("plain", "geop2p")),
            f"{found['times_plain_quickest']:.2f} ({found['times_plain_median']:.2f})",
            *(f"{found['peak_mib'][loop]:.0f}" for loop in ("plain", "geop2p")),
        )
        for name, found in cases.items()
    ]
    heads = ("", "ngf", "plain: images/s", "geop2p: images/s", "ratio", "plain: MiB", "geop2p: MiB")
    return f"{_source(content)}:\n\n{table(heads, rows)}"


def half(content: Figures) -> str:
    """Return what bfloat16 costs: maps against those of float32, and against labels."""
    heads = ("model", "", "grey levels apart", "dB apart", "of another class", "dB", "accuracy")
    rows = [
        (
            f"`{model}`" if way == "float32" else "",
            way,
            *_from_float32(found, way),
            f"{found['psnr_to_labels_db']:.2f}",
            f"{found['accuracy']:.1%}",
        )
        for model, ways in content["figures"].items()
        for way, found in ways.items()
    ]
    return f"{_source(content)}:\n\n{table(heads, rows)}"


def _from_float32(found: Figures, way: str) -> tuple[str, str, str]:
    if way == "float32":
        return "", "", ""
    return (
        f"{found['mean_grey_levels']:.2f}",
        f"{found['psnr_db']:.0f}",
        f"{found['share_of_another_class']:.2%}",
    )


def speed(content: Figures) -> str:
    """Return the README's paragraph."""
    sentences = []
    size = content["figures"]["size"]
    for model, found in content["figures"]["models"].items():
        variants = found["variants"]
        told = [
            f"{variants[name]['seconds']:.3g} s {words} ({variants[name]['times_plain']:.1f}x)"
            for name, words in (("packed", "in float32"), ("int8", "in 8 bits"))
            if name in variants
        ]
        peers = ", ".join(
            f"{NAMES[name]} {variants[name]['seconds']:.3g} s"
            for name in ("plain", "monai", "dask")
            if name in variants
        )
        sentences.append(f"- `{model}`: geop2p {' and '.join(told)}; {peers}")
    machine = content["machine"].partition(",")[0]
    return (
        f"A scene of {size} x {size} pixels on {machine}, start-up left out; x: times as fast as "
        "the plain script,\na window per tile, one tile at a time:\n\n" + "\n".join(sentences)
    )


def _source(content: Figures) -> str:
    return (
        f"{content['date']}, commit {content['commit']}, {content['machine']}, "
        f"`{content['command']}`"
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _apart(difference: Figures | None) -> str:
    if difference is None:
        return ""
    return f"{difference['mean_grey_levels']:.2f} levels, {difference['psnr_db']:.0f} dB"


BLOCKS: dict[str, tuple[str, Callable[[Figures], str]]] = {
    "translate_cpu": ("translate_cpu", translations),
    "translate_cpu_amx": ("translate_cpu_amx", translations),
    "engines": ("engines", engines),
    "engines_amx": ("engines_amx", engines),
    "half": ("half", half),
    "memory": ("memory", memory),
    "finish": ("finish", finish),
    "startup": ("startup", startup),
    "decoding": ("decoding", decoding),
    "many": ("many", many),
    "targets": ("translate_cpu", targets),
    "train": ("train", training),
    "speed": ("translate_cpu", speed),
    "speed_amx": ("translate_cpu_amx", speed),
    "recipes": ("recipes", recipes),
    "recipes_roads": ("recipes_roads", roads_recipes),
    "recipes_roads_choose": ("recipes_roads_choose", roads_recipes),
}
"""Name of a block to the file of its figures and what makes it."""


if __name__ == "__main__":
    main()
