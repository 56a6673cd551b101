"""A run as a picture, from its journal: in the terminal, as a page without any network, or as an image.

series    what is drawn: lines, points and marks of each chart (pure)
scale     from numbers to places, and the numbers that stand at an axis (pure)
braille   a chart of letters       svg   a chart of lines       page   the whole report
"""
