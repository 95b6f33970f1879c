//! System calls, by seccomp: what the threads of a running program may ask of the kernel. Read first: seccomp(2). Called by
//! confine.
//!
//! What no running program of ours ever asks for, and an intruder would, ends the process: execve, ptrace, mounts, other users.
//! Anything else that is not on the list fails with EPERM, as it does under systemd's `SystemCallFilter=`: a new C library may
//! ask for something that nobody here has thought of, and has a way without it. New threads are allowed, new processes are not:
//! `clone3`, whose arguments no filter can see, does not exist, so the C library uses `clone`.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Why the filter is not in place.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallsError {
    /// It cannot be made for this machine.
    #[error("the filter cannot be made: {0}")]
    Make(#[from] BackendError),
    /// The kernel does not take it.
    #[error("the kernel does not take the filter: {0}")]
    Install(#[from] seccompiler::Error),
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Filters all threads of this process from now on.
pub(super) fn restrict() -> Result<(), CallsError> {
    // Of several answers the kernel gives the strictest; the last filter allows no further one.
    let deadly = filter(rules(&DEADLY), SeccompAction::Allow, SeccompAction::KillProcess)?;
    let missing =
        filter(rules(&[libc::SYS_clone3]), SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?;
    let allowed = filter(allowed()?, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)?;
    for program in [deadly, missing, allowed] {
        seccompiler::apply_filter_all_threads(&program)?;
    }
    Ok(())
}

fn filter(rules: Rules, otherwise: SeccompAction, listed: SeccompAction) -> Result<BpfProgram, BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, otherwise, listed, arch)?.try_into()
}

/// Whatever the arguments.
fn rules(calls: &[c_long]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

fn allowed() -> Result<Rules, BackendError> {
    let mut allowed = rules(&ALLOWED);
    allowed.extend(rules(&ALLOWED_HERE));
    // Both answers to clone3 are no; the filter for it says which.
    allowed.insert(libc::SYS_clone3, Vec::new());
    allowed.insert(libc::SYS_clone, vec![only_threads()?]);
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let families = families.into_iter().map(|family| argument(SeccompCmpOp::Eq, family as u64));
    allowed.insert(libc::SYS_socket, families.collect::<Result<_, _>>()?);
    Ok(allowed)
}

fn only_threads() -> Result<SeccompRule, BackendError> {
    let thread = libc::CLONE_THREAD as u64;
    argument(SeccompCmpOp::MaskedEq(thread), thread)
}

/// About the first one.
fn argument(compare: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Dword, compare, value)?])
}

/// Ends the process.
const DEADLY: [c_long; 38] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_open_by_handle_at,
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
];

/// What running programs ask for: found by strace over the end-to-end tests, with the kin of each, that another version of a
/// library may ask for instead.
#[rustfmt::skip]
const ALLOWED: [c_long; 127] = [
    // Files and descriptors.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2,
    libc::SYS_openat, libc::SYS_close, libc::SYS_close_range, libc::SYS_fstat, libc::SYS_newfstatat, libc::SYS_statx,
    libc::SYS_lseek, libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fsync, libc::SYS_fdatasync,
    libc::SYS_unlinkat, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_mkdirat, libc::SYS_fcntl, libc::SYS_flock,
    libc::SYS_ioctl, libc::SYS_dup, libc::SYS_dup3, libc::SYS_getdents64, libc::SYS_readlinkat, libc::SYS_faccessat,
    libc::SYS_faccessat2, libc::SYS_fchmod, libc::SYS_fchmodat, libc::SYS_fchown, libc::SYS_fchownat, libc::SYS_umask,
    libc::SYS_getcwd, libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_utimensat, libc::SYS_fadvise64, libc::SYS_pipe2,
    // Memory.
    libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect, libc::SYS_madvise, libc::SYS_brk,
    libc::SYS_msync, libc::SYS_membarrier, libc::SYS_mlock, libc::SYS_munlock, libc::SYS_mincore,
    // Threads and signals.
    libc::SYS_set_robust_list, libc::SYS_get_robust_list, libc::SYS_rseq, libc::SYS_set_tid_address, libc::SYS_futex,
    libc::SYS_sched_yield, libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity, libc::SYS_exit,
    libc::SYS_exit_group, libc::SYS_gettid, libc::SYS_getpid, libc::SYS_getppid, libc::SYS_tgkill, libc::SYS_prctl,
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_rt_sigpending,
    libc::SYS_rt_sigtimedwait, libc::SYS_rt_sigsuspend, libc::SYS_sigaltstack, libc::SYS_restart_syscall,
    // Time and waiting.
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep, libc::SYS_nanosleep,
    libc::SYS_gettimeofday, libc::SYS_timerfd_create, libc::SYS_timerfd_settime, libc::SYS_timerfd_gettime,
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_ppoll,
    libc::SYS_pselect6, libc::SYS_eventfd2, libc::SYS_inotify_init1, libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    // Sockets; which families there may be is said apart.
    libc::SYS_socketpair, libc::SYS_bind, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4, libc::SYS_connect,
    libc::SYS_getsockname, libc::SYS_getpeername, libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_sendmsg,
    libc::SYS_recvmsg, libc::SYS_sendmmsg, libc::SYS_recvmmsg, libc::SYS_shutdown, libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    // About the system and ourselves.
    libc::SYS_getrandom, libc::SYS_uname, libc::SYS_sysinfo, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid,
    libc::SYS_getegid, libc::SYS_getgroups, libc::SYS_prlimit64, libc::SYS_getrusage, libc::SYS_getcpu,
    libc::SYS_capget, libc::SYS_seccomp,
];

/// The older forms, which newer machines never had.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_HERE: [c_long; 24] = [
    libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_unlink, libc::SYS_rename, libc::SYS_mkdir,
    libc::SYS_rmdir, libc::SYS_access, libc::SYS_readlink, libc::SYS_chmod, libc::SYS_pipe, libc::SYS_dup2,
    libc::SYS_poll, libc::SYS_select, libc::SYS_epoll_wait, libc::SYS_epoll_create, libc::SYS_eventfd,
    libc::SYS_inotify_init, libc::SYS_time, libc::SYS_getrlimit, libc::SYS_setrlimit, libc::SYS_arch_prctl,
    libc::SYS_getdents, libc::SYS_alarm,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: [c_long; 0] = [];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_deadly_and_allowed_at_once() {
        let allowed = allowed().unwrap();
        assert!(DEADLY.iter().all(|call| !allowed.contains_key(call)));
        assert_eq!(rules(&DEADLY).len(), DEADLY.len(), "a call is listed twice");
        assert_eq!(rules(&ALLOWED).len(), ALLOWED.len(), "a call is listed twice");
    }
}
