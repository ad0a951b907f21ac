//! What a shard's thread asks of the scheduler: to run soon after it was woken, for a short while.
//!
//! Shards sleep most of the time and work for microseconds. Under EEVDF (Linux 6.6 and later) a shorter slice means an earlier virtual
//! deadline, so a thread with one is chosen soon after it wakes without a larger share of the core (Linux 6.12 and later take the slice
//! from `sched_setattr`). It needs no privilege. Older kernels ignore it; other systems have nothing of the kind.

/// The shortest slice the kernel takes.
#[cfg(target_os = "linux")]
const SLICE_NS: u64 = 100_000;

/// Asks for the calling thread. Refused, the thread is scheduled like any other.
pub(crate) fn wake_soon() {
    #[cfg(target_os = "linux")]
    linux::slice(SLICE_NS);
}

#[cfg(target_os = "linux")]
mod linux {
    /// `struct sched_attr`, its first version; see sched_setattr(2).
    #[repr(C)]
    struct SchedAttr {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }

    pub fn slice(nanos: u64) {
        let attr = SchedAttr {
            size: size_of::<SchedAttr>() as u32,
            policy: 0,
            // The policy stays what was set from outside, and so does the niceness (SCHED_FLAG_KEEP_PARAMS would keep the slice as well). A
            // real-time policy wants a priority and refuses this; it needs no slice.
            flags: libc::SCHED_FLAG_KEEP_POLICY as u64,
            nice: nice(),
            priority: 0,
            runtime: nanos,
            deadline: 0,
            period: 0,
        };
        // SAFETY: thread 0 is the calling one; `attr` is a valid `sched_attr` of the size it says and outlives the call.
        let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    }

    fn nice() -> i32 {
        // SAFETY: takes two numbers and touches no memory; 0 is the calling thread. An error reads as -1, which is a niceness too and which
        // the kernel refuses to somebody without the right to it.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }
}
