//! Counts the system calls in valgrind's log.

/// Read through the vDSO by a process that runs outside valgrind.
const NO_SYSTEM_CALL: &[&str] = &["sys_clock_gettime", "sys_gettimeofday", "sys_time"];
/// `EINTR` as valgrind prints it: the call was cut short when the driver stopped the process, and is made again.
const INTERRUPTED: &str = "Failure(0x4)";

/// System calls of all threads but the first (see `subject`). A call is `SYSCALL[pid,thread](number) sys_name ( arguments ) --> result`, usually on a line of its
/// own; what it returned follows or, if it could block, comes later under the same prefix, without name.
pub fn system_calls(log: &str) -> u64 {
    let (mut made, mut interrupted) = (0, 0);
    let entries = log.split("SYSCALL[").skip(1);
    let entries = entries.filter(|entry| entry.split(']').next().is_some_and(|who| !who.ends_with(",1")));
    for rest in entries.filter_map(|entry| entry.split_once(") ")).map(|(_, rest)| rest.trim_start()) {
        let name = rest.split([' ', '(']).next().unwrap_or_default();
        made += u64::from(name.starts_with("sys_") && !NO_SYSTEM_CALL.contains(&name));
        interrupted += u64::from(rest.contains(INTERRUPTED));
    }
    made - interrupted.min(made)
}

#[test]
fn calls_are_counted_once_and_clocks_and_interruptions_not_at_all() {
    let log = "==1== Callgrind\nSYSCALL[1,2](257) sys_openat ( 1, 0x2(/x), 0 ) --> [async] ... \nSYSCALL[1,2](257) ... [async] --> Success(0x4) \n\
               SYSCALL[1,1](  3) sys_close ( 4 )[sync] --> Success(0x0) \nSYSCALL[1,11](  3) sys_close ( 4 )[sync] --> Success(0x0) \nSYSCALL[1,5](228) sys_clock_gettime( 1, 0x7 )[sync] --> Success(0x0) \n\
               SYSCALL[1,5](232) sys_epoll_wait ( 3, 0x7, 9, 4294967295 ) --> [async] ... \nSYSCALL[1,5](232) ... [async] --> Failure(0x4) \n\
               SYSCALL[1,2](56) sys_clone ( 3d0f00 ) --> [pre-success] Success(0x2bae) SYSCALL[1,5](232) sys_epoll_wait ( 3 ) --> [async] ... \n";
    assert_eq!(system_calls(log), 4);
}
