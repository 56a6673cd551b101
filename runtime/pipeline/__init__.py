"""Pipeline parallelism: layers cut into stages, micro-batches that flow through them, and what each device does when.

Pure:   actions (what a stage does), schedules (in which order), transfers (who sends what to whom), validator (proof
        that an order works), schedule_csv; partition (which layers where), costs (how long each takes), simulator (how
        long a step takes), choice (which schedule), support (which architectures can be cut)

Shell:  stage (runs the actions of one device on mlx; trainer/stage_link carries its messages between ranks)

Nothing here that is pure imports mlx: the plan of a run is made before a device is touched.
"""
