"""The parts of a Word document: the text of its paragraphs, styles, list numbers, formulas."""
