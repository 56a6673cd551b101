"""A pause as the facts tell it: asked for, reached, over."""

from __future__ import annotations

from runtime.events import CheckpointRequested, PauseRequested, ResumeRequested, RunFinished, RunPaused, StopRequested
from runtime.ids import Step
from tests.unit.events.test_fold import after, commit, generation, started


def test_a_run_pauses_goes_on_and_says_where_it_stood() -> None:
    state = after(started(), generation(1, (0, 1)), commit(1), PauseRequested("kim"))
    assert (state.status, state.pausing, state.paused_step) == ("pausing", "kim", None)
    state = after(commit(2), RunPaused(Step(2), "kim"), CheckpointRequested("lee"), state=state)
    assert (state.status, state.paused_step) == ("paused", 2)
    state = after(ResumeRequested("lee"), state=state)
    assert (state.status, state.pausing, state.paused_step) == ("running", "", None)
    assert state.resumed_seconds == state.wall_seconds


def test_a_pause_ends_with_its_session() -> None:
    paused = after(started(), RunPaused(Step(2), "kim"))
    assert paused.status == "paused"
    assert after(StopRequested("kim"), state=paused).status == "stopping"
    assert after(RunFinished("stopped", Step(2), 1.0), state=paused).pausing == ""
    assert after(started(first_step=Step(3)), state=paused).status == "starting"
