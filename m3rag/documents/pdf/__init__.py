"""The parts of a PDF: its pages, the order of their lines, forms, headings, broken words."""
