"""A real-time lakehouse orchestrated by Dagster.

``lakehouse_dagster.CdcPipeline`` is the component that a pipeline's ``defs.yaml`` names. It is loaded on
first use, so that the command line and the publisher, which import this package too, do not pay for importing
Dagster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lakehouse_dagster.components.cdc_pipeline import CdcPipeline

__all__ = ["CdcPipeline"]


def __getattr__(name: str) -> object:
    if name == "CdcPipeline":
        from lakehouse_dagster.components.cdc_pipeline import CdcPipeline

        return CdcPipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # `dg` finds component types by walking dir(module).
    return sorted({*globals(), *__all__})
