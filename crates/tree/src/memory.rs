//! Memory that has been freed, and the allocator keeps.

/// Gives what has been freed back to the system: after much work, glibc keeps what lay between things that are still in
/// use (`malloc_trim(3)`). Other allocators are left to themselves. It takes milliseconds at most.
///
/// It has to do with no file; it is here because this is one of the two crates that may call what the compiler cannot
/// check.
#[cfg_attr(
    target_env = "gnu",
    expect(unsafe_code, reason = "malloc_trim has no safe wrapper")
)]
pub fn release_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, changes nothing that a program can see, and any thread may call it at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
