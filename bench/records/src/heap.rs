//! Counts the bytes that are in use on the heap. An allocator cannot be without `unsafe`, which the
//! program's own crates forbid; this is no part of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is left to the system's allocator; only sizes are added up.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Bytes that what `make` gives has in use, for each of `number`.
pub(crate) fn of_each<T>(number: usize, mut make: impl FnMut() -> T) -> usize {
    drop(make()); // what is made once
    let before = IN_USE.load(Ordering::Relaxed);
    let made = make();
    let in_use = IN_USE.load(Ordering::Relaxed) - before;
    drop(made);
    in_use / number
}
