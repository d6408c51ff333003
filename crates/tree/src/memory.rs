//! Memory that a program has at its disposal without needing it.
//!
//! It has to do with no file; it is here because this is one of the two crates that may call what the compiler cannot
//! check.

/// Freed memory at the end of a heap that is kept for what comes next, in bytes.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 1 << 20;

/// Has freed memory given back as it is freed, but for a little: for programs that work much and then wait for long. Left to
/// itself, glibc keeps at the end of each thread's heap up to twice the largest piece that was ever freed, and
/// [`release_unused_memory`] does not reach that.
#[cfg_attr(
    target_env = "gnu",
    expect(unsafe_code, reason = "mallopt has no safe wrapper")
)]
pub fn keep_little_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer and changes nothing but when memory is given back, and any thread may call it at any time.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

/// Gives back to the system what a program has at its disposal and does not need while it waits: what has been freed, and
/// the pages of its own code. It takes milliseconds at most.
pub fn release_unused_memory() {
    release_freed();
    release_code();
}

/// After much work, glibc keeps what lay between things that are still in use (`malloc_trim(3)`). Other allocators are
/// left to themselves.
#[cfg_attr(
    target_env = "gnu",
    expect(unsafe_code, reason = "malloc_trim has no safe wrapper")
)]
fn release_freed() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, changes nothing that a program can see, and any thread may call it at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The kernel maps code in large pieces around what is used, and never lets go of it while there is memory. It stays in
/// the page cache, where what is needed again is found, and where the kernel may take the rest from.
#[expect(unsafe_code, reason = "madvise has no safe wrapper")]
fn release_code() {
    let Some(code) = own_code() else { return };
    let length = code.len();
    let start = std::ptr::without_provenance_mut::<std::ffi::c_void>(code.start);
    // SAFETY: these are pages of the program's file that are mapped for execution and cannot be written: whatever is used
    // of them next is mapped from the same file again.
    let _ = unsafe { rustix::mm::madvise(start, length, rustix::mm::Advice::LinuxDontNeed) };
}

/// Where the code of this program is mapped (`proc_pid_maps(5)`); `None` where there is no /proc.
fn own_code() -> Option<std::ops::Range<usize>> {
    let here = own_code as *const () as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let [start, end] = [start, end].map(|at| usize::from_str_radix(at, 16));
        let range = start.ok()?..end.ok()?;
        let is_only_code = words.next()? == "r-xp";
        (is_only_code && range.contains(&here)).then_some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_goes_on_without_what_it_gave_back() {
        let code = own_code().expect("this test is mapped somewhere");
        assert!(code.contains(&(release_unused_memory as *const () as usize)));
        keep_little_freed_memory();
        let kept = vec![7_u8; 1 << 20];
        drop(vec![7_u8; 1 << 20]);
        release_unused_memory();
        assert!(kept.iter().all(|byte| *byte == 7));
    }
}
