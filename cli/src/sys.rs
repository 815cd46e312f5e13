//! The allocator and its settings.
#![allow(unsafe_code, reason = "kept in files of this name; each block has its argument")]

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

/// jemalloc keeps resident memory per idle connection lowest of the allocators measured (design, section 5), and its
/// background thread returns freed pages without work on the request path.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Freed pages go back after half a second, not ten: compiling a configuration needs several times what it leaves, and
/// seldom happens twice in a row. After a busy period of 256 connections 16 MiB stay resident where five seconds leave 27.
///
/// Thread caches are looked through after every MiB asked for, not every 64 KiB: a connection takes a buffer of 8 KiB and gives it
/// back, and the default freed and took it anew for three of four, 1,800 instructions of a new connection's 63,400.
///
/// Nothing else is set, since nothing else was found to matter with one worker: with one or two arenas, or without thread
/// caches, memory idle, with 1,000 connections and after load differed by less than runs do, or rose (without thread
/// caches 16 to 21 MiB after load; one run each). Huge pages are left to the system's setting: under `madvise`, the usual
/// one, jemalloc asks for none. `_RJEM_MALLOC_CONF` in the environment overrides.
///
/// jemalloc takes the page size of the machine that builds it. An arm64 build that shall also run on kernels with pages of 64 KiB
/// needs `JEMALLOC_SYS_WITH_LG_PAGE=16` in the environment, which `make image-binary` sets; it runs on those with 4 KiB as well.
// SAFETY: jemalloc declares this weak symbol as a pointer to a string that ends in NUL and never changes; a thin reference to
// a static array is one. Nothing else in the program has the name.
#[unsafe(export_name = "_rjem_malloc_conf")]
static SETTINGS: &[u8; 48] = b"dirty_decay_ms:500,tcache_gc_incr_bytes:1048576\0";

unsafe extern "C" {
    /// jemalloc's control interface (jemalloc(3), MALLCTL NAMESPACE).
    #[link_name = "_rjem_mallctl"]
    fn mallctl(name: *const c_char, old: *mut c_void, old_size: *mut usize, new: *mut c_void, new_size: usize) -> c_int;
}

/// Gives what this thread and all arenas hold free back to the operating system now, without waiting for decay. For the end
/// of a start and of changes of configuration, which need several times what they leave. Threads at work fault pages in again
/// that they need after all, so it is not for every change of many.
pub(crate) fn release_free_memory() {
    // 4096 stands for all arenas (MALLCTL_ARENAS_ALL).
    for command in [c"thread.tcache.flush", c"arena.4096.purge"] {
        // SAFETY: the name is a string that ends in NUL; both are commands without input or output, for which null pointers
        // and no size are what jemalloc expects. One that does not exist returns an error, and the pages go back by decay.
        unsafe { mallctl(command.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
    }
}
