//! Links the pure crates without std. Never run.
#![no_std]

use core::alloc::{GlobalAlloc, Layout};

use router_core as _;
use wg_proto as _;

struct NoMemory;

// SAFETY: returning null is how an allocator says that there is no memory; nothing is ever handed out.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
