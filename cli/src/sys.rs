//! The allocator and its settings.
#![allow(unsafe_code)]

/// jemalloc keeps resident memory per idle connection lowest of the allocators measured (design, section 5), and its
/// background thread returns freed pages without work on the request path.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Freed pages go back after half a second, not ten: compiling a configuration needs several times what it leaves, and
/// seldom happens twice in a row. `_RJEM_MALLOC_CONF` in the environment overrides.
// SAFETY: jemalloc declares this weak symbol as a pointer to a string that ends in NUL and never changes; a thin reference to
// a static array is one. Nothing else in the program has the name.
#[unsafe(export_name = "_rjem_malloc_conf")]
static SETTINGS: &[u8; 19] = b"dirty_decay_ms:500\0";
