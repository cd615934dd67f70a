//! Memory goes back to the system when a rush is over: the system's own allocator keeps what an
//! attack made it take.

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Lets one thread of the allocator's own give free memory back, also while nothing is allocated.
/// Without it, memory goes back late. (What else the allocator is told stands in
/// `.cargo/config.toml`, because it is built in.)
#[cfg(target_os = "linux")]
pub(crate) fn give_back_in_the_background() {
    let one = tikv_jemalloc_ctl::max_background_threads::write(1);
    if let Err(error) = one.and_then(|()| tikv_jemalloc_ctl::background_thread::write(true)) {
        tracing::debug!(%error, "free memory goes back late");
    }
}

/// Elsewhere the system's allocator is used.
#[cfg(not(target_os = "linux"))]
pub(crate) fn give_back_in_the_background() {}
