"""Serving: OpenAI's HTTP interface over mlx-lm's generation, which batches what several clients ask.

Requests are checked before anything is computed (`asking`), answered by one thread that owns MLX (`engine`), cut at
stop texts (`stops`), written in OpenAI's forms (`replies`) and carried by Starlette and uvicorn (`routes`).
mlx-lm's own request handler is not used: it lets clients name models and adapters to load, its thread dies of a wrong
type, and its errors are texts where OpenAI's clients look for an object.
"""
