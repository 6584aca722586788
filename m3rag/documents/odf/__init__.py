"""The parts of OpenDocument files beside their text: how their lists and headings are numbered."""
