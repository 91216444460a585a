"""What `corral demo` runs: the dashboard on the demo's own daemon, or the six kinds as plain lines."""

from __future__ import annotations


def run_demo(plain: bool) -> int:
    """Run the demo to its end and return the exit status: 0 where all is as expected and nothing is left.

    Raises:
        CorralError: the demo's daemon could not be started.
    """
    if plain:
        from corral_tui.demo.plain import run_plain

        return run_plain()
    from corral_tui.demo.screen import run_on_screen

    return run_on_screen()
