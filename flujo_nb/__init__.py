"""Notebook workflows on immutable execution frames.

In a notebook: ``%load_ext flujo_nb``, then ``%flujo help``. In a program: the names below.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

# In a source checkout `engine/` and `widgets/` lie beside this package, not inside it.
if not (Path(__file__).parent / "engine").is_dir():
    __path__.append(str(Path(__file__).parent.parent))

from .engine.agents import ADAPTERS
from .engine.cache_manager import CacheEntry, MemoryCache
from .engine.context import PipelineContext
from .engine.decorators import adapter_step, step
from .engine.dsl import RefinementCheck
from .engine.errors import (
    AlreadyAnswered,
    AnswerRejected,
    BranchNotFound,
    ConfigurationError,
    ContextError,
    ContextInheritanceError,
    ContextIsolationError,
    ContextMergeError,
    ContextMissing,
    ContextTypeError,
    ContextUpdateError,
    ContextViewError,
    ControlFlowError,
    DefinitionChanged,
    DuplicatePath,
    FallbackFailed,
    FlujoDeprecationWarning,
    FlujoError,
    InfiniteFallbackError,
    InfiniteRedirectError,
    InputChanged,
    LeaseLost,
    MaxLoopsReached,
    MissingAgentError,
    NestingTooDeep,
    NonRetryableError,
    NoSuchRun,
    PausedException,
    PipelineAbortSignal,
    PipelineContextInitializationError,
    PluginFailed,
    PolicyContractError,
    PolicyNotFound,
    PricingNotConfiguredError,
    ProcessorFailed,
    RateLimited,
    ReplayMismatch,
    ResumeError,
    RunExists,
    RunHeld,
    RunInputMismatch,
    RunSetAside,
    SecretNeeded,
    StepCancelledItself,
    StepExited,
    StepInDoubt,
    StepInterrupted,
    StepSealed,
    StepSignatureError,
    StepStillRunning,
    StepTimeout,
    StoreBusy,
    StoreError,
    StoreFailed,
    StoreRefused,
    TemplateResolutionError,
    TypeMismatchError,
    TypeNotDefined,
    UnusableInput,
    UnusableOutput,
    UsageLimitExceededError,
    ValidationFailed,
    ValueGone,
    ValueNotRead,
    ValueNotSaved,
)
from .engine.executor_core import ExecutorCore
from .engine.frame import ExecutionFrame, make_execution_frame
from .engine.hooks import (
    AttemptFailed,
    ChunkArrived,
    FrameFinished,
    FrameRestored,
    FrameStarted,
    RunFinished,
    RunStarted,
)
from .engine.in_doubt import Verdict
from .engine.merging import Merge, MergeStrategy
from .engine.outcomes import (
    Aborted,
    BackgroundLaunched,
    Chunk,
    Failure,
    Paused,
    StepOutcome,
    Success,
)
from .engine.path import FramePath
from .engine.policies.built_in import built_in_policies
from .engine.policy import ExecutorPort, StepPolicy
from .engine.policy_registry import PolicyRegistry
from .engine.recorded_run import Persist
from .engine.references import (
    ContextReference,
    ProviderFailed,
    ReferenceNotLoaded,
    StateProvider,
    UnknownProvider,
)
from .engine.results import AnswerRecorded, Pause, PipelineResult, StepResult
from .engine.runner import Flujo
from .engine.step_config import AgentProcessors, PluginOutcome, StepConfig, ValidationResult
from .engine.step_kinds import (
    BranchFailureStrategy,
    CacheStep,
    ConditionalStep,
    DynamicParallelRouterStep,
    HumanInTheLoopStep,
    ImportStep,
    LoopStep,
    MapStep,
    OutputMapping,
    ParallelStep,
)
from .engine.steps import AgentStep, Pipeline, Step
from .engine.store.codec_tables import CODECS, codec
from .engine.store.memory import MemoryStore
from .engine.store.sqlite import SqliteStore
from .engine.stores import Store
from .engine.usage import Metered, Quota, Usage, UsageEstimate, UsageLimits

ADAPTERS["pydantic_ai"] = f"{__name__}.adapters.pydantic_ai"
CODECS["numpy"] = f"{__name__}.adapters.numpy_codec"
CODECS["pandas"] = f"{__name__}.adapters.pandas_codec"
CODECS["polars"] = f"{__name__}.adapters.polars_codec"
CODECS["pyarrow"] = f"{__name__}.adapters.arrow_codec"

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = [
    "Aborted",
    "AgentProcessors",
    "AgentStep",
    "AlreadyAnswered",
    "AnswerRecorded",
    "AnswerRejected",
    "AttemptFailed",
    "BackgroundLaunched",
    "BranchFailureStrategy",
    "BranchNotFound",
    "CacheEntry",
    "CacheStep",
    "Chunk",
    "ChunkArrived",
    "ConditionalStep",
    "ConfigurationError",
    "ContextError",
    "ContextInheritanceError",
    "ContextIsolationError",
    "ContextMergeError",
    "ContextMissing",
    "ContextReference",
    "ContextTypeError",
    "ContextUpdateError",
    "ContextViewError",
    "ControlFlowError",
    "DefinitionChanged",
    "DuplicatePath",
    "DynamicParallelRouterStep",
    "ExecutionFrame",
    "ExecutorCore",
    "ExecutorPort",
    "Failure",
    "FallbackFailed",
    "Flujo",
    "FlujoDeprecationWarning",
    "FlujoError",
    "FrameFinished",
    "FramePath",
    "FrameRestored",
    "FrameStarted",
    "HumanInTheLoopStep",
    "ImportStep",
    "InfiniteFallbackError",
    "InfiniteRedirectError",
    "InputChanged",
    "LeaseLost",
    "LoopStep",
    "MapStep",
    "MaxLoopsReached",
    "MemoryCache",
    "MemoryStore",
    "Merge",
    "MergeStrategy",
    "Metered",
    "MissingAgentError",
    "NestingTooDeep",
    "NoSuchRun",
    "NonRetryableError",
    "OutputMapping",
    "ParallelStep",
    "Pause",
    "Paused",
    "PausedException",
    "Persist",
    "Pipeline",
    "PipelineAbortSignal",
    "PipelineContext",
    "PipelineContextInitializationError",
    "PipelineResult",
    "PluginFailed",
    "PluginOutcome",
    "PolicyContractError",
    "PolicyNotFound",
    "PolicyRegistry",
    "PricingNotConfiguredError",
    "ProcessorFailed",
    "ProviderFailed",
    "Quota",
    "RateLimited",
    "ReferenceNotLoaded",
    "RefinementCheck",
    "ReplayMismatch",
    "ResumeError",
    "RunExists",
    "RunFinished",
    "RunHeld",
    "RunInputMismatch",
    "RunSetAside",
    "RunStarted",
    "SecretNeeded",
    "SqliteStore",
    "StateProvider",
    "Step",
    "StepCancelledItself",
    "StepConfig",
    "StepExited",
    "StepInDoubt",
    "StepInterrupted",
    "StepOutcome",
    "StepPolicy",
    "StepResult",
    "StepSealed",
    "StepSignatureError",
    "StepStillRunning",
    "StepTimeout",
    "Store",
    "StoreBusy",
    "StoreError",
    "StoreFailed",
    "StoreRefused",
    "Success",
    "TemplateResolutionError",
    "TypeMismatchError",
    "TypeNotDefined",
    "UnknownProvider",
    "UnusableInput",
    "UnusableOutput",
    "Usage",
    "UsageEstimate",
    "UsageLimitExceededError",
    "UsageLimits",
    "ValidationFailed",
    "ValidationResult",
    "ValueGone",
    "ValueNotRead",
    "ValueNotSaved",
    "Verdict",
    "adapter_step",
    "built_in_policies",
    "codec",
    "load_ipython_extension",
    "make_execution_frame",
    "step",
    "unload_ipython_extension",
]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """What ``%load_ext flujo_nb`` calls. Loading twice is harmless."""
    from .magics import load  # noqa: PLC0415  # the engine needs no IPython

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """What ``%unload_ext flujo_nb`` calls. Leaves nothing behind."""
    from .magics import unload  # noqa: PLC0415

    unload(shell)
