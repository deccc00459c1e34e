"""What jax has compiled, kept on disk: op by op it compiles for every shape and dtype, in every
process, which takes longer than all the steps.  A file that was cut is compiled anew."""

import jax

from optconform.caches import folder


def keep() -> None:
    """Have jax look up its compiled programs in the cache, unless it has a folder already."""
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(folder() / "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
