//! Where memory comes from, the same for every program of the workspace.
//!
//! Chunks and shards are large, live for milliseconds and are freed by another thread than allocated them. The
//! system's allocator gives such memory back to the kernel at once and has it zeroed again, page by page.

use std::ffi::{c_int, c_long};

use types::limits::PURGE_DELAY_MS;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// SAFETY: as mimalloc declares it.
unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
}

/// `mi_option_purge_delay` in the header of mimalloc 3: milliseconds until freed memory goes back to the kernel.
const PURGE_DELAY: c_int = 15;
/// What a program does before anything else.
pub(crate) fn tune() {
    refuse_huge_pages();
    // SAFETY: the allocator reads the option at every use; an unknown one is ignored.
    unsafe { mi_option_set(PURGE_DELAY, c_long::from(PURGE_DELAY_MS)) };
}

/// Makes the kernel give this process and its children small pages only. A huge page is zeroed as a whole when its
/// first byte is touched, and chunks use much memory for milliseconds: with huge pages a put of 1 GiB to eight nodes
/// took a tenth longer, and its client used 311 MB instead of 134.
fn refuse_huge_pages() {
    // SAFETY: changes a flag of the process; the unused arguments must be zero. An old kernel refuses, which does no harm.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    // SAFETY: as mimalloc declares it.
    unsafe extern "C" {
        fn mi_option_get(option: c_int) -> c_long;
    }

    #[test]
    fn the_option_is_the_one_it_is_taken_for() {
        // SAFETY: as in `tune`.
        let get = || unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(
            get(),
            1_000,
            "the allocator's default; another number means that the options were renumbered"
        );
        tune();
        assert_eq!(get(), c_long::from(PURGE_DELAY_MS));
    }
}
