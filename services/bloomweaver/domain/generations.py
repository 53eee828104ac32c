"""What a move of a collection's generation makes of it (R15), decided once for every registry.

Invariant: each function returns the generation that is to be saved, its epoch untouched (a save raises it), or the very
one that it was given where nothing is to change; None where there is nothing to move to.
"""

from dataclasses import replace

from bloomweaver.domain.documents import Generation, Pipeline


def beside(generation: Generation, pipeline: Pipeline | None) -> Generation:
    """With that pipeline being built beside the active one; the active one itself means none."""
    if pipeline is not None and pipeline.pipe == generation.active.pipe:
        pipeline = None
    if pipeline == generation.building:
        return generation
    previous, until = generation.previous, generation.previous_until
    if pipeline is not None and previous is not None and pipeline.pipe == previous.pipe:
        previous, until = None, None  # what is still current is built on
    return replace(generation, building=pipeline, previous=previous, previous_until=until)


def promoted(generation: Generation, *, until: float) -> Generation | None:
    """The building pipeline is active; the one before is kept current until then (seconds since the epoch)."""
    if generation.building is None:
        return None
    active = generation.building
    return replace(generation, active=active, building=None, previous=generation.active, previous_until=until)


def rolled_back(generation: Generation) -> Generation | None:
    """The previous pipeline, which was kept current, is active again."""
    if generation.previous is None:
        return None
    return replace(generation, active=generation.previous, previous=None, previous_until=None)


def soaked(generation: Generation) -> Generation | None:
    """The previous pipeline is given up."""
    return None if generation.previous is None else replace(generation, previous=None, previous_until=None)
