"""How a child process of the runtime begins: `python -P -m runtime.launch MODULE ARGUMENTS...`.

The tether is armed before anything slow is imported. A child armed in its own main needs trio, numpy and more first: of
ten killed roots one left a child behind that lived on for four seconds, until its imports were done.
"""

from __future__ import annotations

import runpy
import sys

from runtime import tether


def command(module: str, *arguments: str) -> tuple[str, ...]:
    """The command line that runs `module` as a tethered main program.

    `-P`: a folder called `runtime` where the user stands cannot take our place.
    """
    return (sys.executable, "-P", "-m", "runtime.launch", module, *arguments)


def main() -> None:
    """Arm the tether, then be the module that the first argument names."""
    tether.arm()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
