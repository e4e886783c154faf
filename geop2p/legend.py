"""What a GIS shows of classes: names and colours, in the words of GDAL and QGIS."""

from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from geop2p.palette import Colour, Palette


def category_names(palette: Palette) -> str:
    """Return the side-car file ``NAME.tif.aux.xml`` from which GDAL reads names of values.

    References
    ----------
    GDAL, "Raster Data Model", category names; "PAMDataset" in ``gdalvrt.xsd``.
    """
    root = Element("PAMDataset")
    names = SubElement(SubElement(root, "PAMRasterBand", band="1"), "CategoryNames")
    by_index = {entry.index: entry.name for entry in palette.classes}
    for index in range(max(by_index) + 1):
        SubElement(names, "Category").text = by_index.get(index, "")
    return _text(root)


def side_car(classes: Path) -> Path:
    """Return the file beside a class raster in which GDAL looks for the names of classes."""
    return classes.with_name(f"{classes.name}.aux.xml")


def layer_style(palette: Palette, *, field: str) -> str:
    """Return a QML style for QGIS: polygons without outline, coloured by the class in ``field``."""
    root = Element("qgis", version="3.28", styleCategories="Symbology")
    renderer = SubElement(root, "renderer-v2", type="categorizedSymbol", attr=field)
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for number, entry in enumerate(palette.classes):
        symbol = str(number)
        SubElement(
            categories,
            "category",
            value=str(entry.index),
            type="long",
            symbol=symbol,
            label=entry.name,
            render="true",
        )
        _add_fill(symbols, symbol, entry.colour)
    SubElement(root, "layerGeometryType").text = "2"
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + _text(root)


def _add_fill(symbols: Element, name: str, colour: Colour) -> None:
    symbol = SubElement(symbols, "symbol", name=name, type="fill", alpha="1")
    layer = SubElement(symbol, "layer", {"class": "SimpleFill"}, enabled="1", locked="0")
    options = SubElement(layer, "Option", type="Map")
    values = {
        "color": ",".join(map(str, (*colour, 255))),
        "outline_style": "no",
        "style": "solid",
    }
    for key, value in values.items():
        SubElement(options, "Option", name=key, type="QString", value=value)


def _text(root: Element) -> str:
    indent(root)
    return tostring(root, encoding="unicode") + "\n"
