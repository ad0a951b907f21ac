//! The two things that no page tells: context switches of the whole process, ended threads included, and whether the clock is kept by
//! NTP.

/// Times a thread of this process gave its core away because it had to wait, and times one was taken off it while it had work.
pub(super) fn switches() -> Option<[u64; 2]> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` has the size and alignment of an `rusage` and outlives the call, which writes to nothing else.
    let done = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    if done != 0 {
        return None;
    }
    // SAFETY: the call has filled it.
    let usage = unsafe { usage.assume_init() };
    Some([u64::try_from(usage.ru_nvcsw).ok()?, u64::try_from(usage.ru_nivcsw).ok()?])
}

/// Whether the kernel takes its wall clock for kept by NTP or PTP.
pub(super) fn clock_is_synchronised() -> Option<bool> {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: all zeros is a `timex`: it is made of integers.
        let mut state = unsafe { std::mem::zeroed::<libc::timex>() };
        // SAFETY: `state` is a valid `timex` that outlives the call. Its modes are zero, so that nothing is set and no right is needed.
        let known = unsafe { libc::adjtimex(&raw mut state) };
        (known >= 0).then_some(known != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_only_grow() {
        let before = switches().expect("every Unix counts them");
        std::thread::spawn(|| {}).join().expect("it does nothing");
        let after = switches().expect("every Unix counts them");
        assert!(before[0] <= after[0] && before[1] <= after[1], "{before:?} {after:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_knows_of_its_clock() {
        assert!(clock_is_synchronised().is_some());
    }
}
