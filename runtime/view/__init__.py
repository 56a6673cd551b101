"""The picture of a run: what its facts (and the few gauges that are no facts) say, ready to be drawn or sent. Pure.

cards    RunView: one frozen card for each thing that a screen shows
gauges   what no journal holds: beats, memory of processes, space on the disk
build    view_of(state, ...): RunState and gauges -> RunView
rules    alarms that no single fact raises: stalled, straggler, restarts running out, disk low, ...
advice   who is meant by an alarm, what to do, and the command that does it
codec    cards as rows of JSON (topic, key) and back: what travels from the monitor to a console
metrics  the curves by name, as buckets of 1, 2, 4, ... steps
logs     lines of the processes' logs: parsed, filtered, merged by time (logfiles: read from the run's folder)

Times are Unix seconds and never ages: an age changes although nothing happened. Who draws subtracts.
"""
