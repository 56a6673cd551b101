"""What a headless run shows while it goes, and what it says at its end.

update(envelope, state) -> notable.line_of   a permanent line for what a person should know
                        -> status.parts_of   step, loss, tokens/s, time left, workers, restarts
summary.summary_of(state)                    the last word, for stdout

live    a terminal: one line that changes, permanent lines above it
plain   a file or CI: lines, no control characters
json    every fact as a JSON line, on stdout
none    nothing
"""

from console.cli.progress.choice import MODES, Mode, Progress, choose
from console.cli.progress.summary import summary_of

__all__ = ["MODES", "Mode", "Progress", "choose", "summary_of"]
