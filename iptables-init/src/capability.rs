//! Whether this process may change the network at all; asked first, because what iptables says without is hard to read.

use crate::Error;

const CAP_NET_ADMIN: u32 = 12;

/// # Errors
/// [`Error::Capability`] if the effective set lacks `NET_ADMIN`. A set that cannot be read is no error: the kernel will tell.
pub(crate) fn check() -> Result<(), Error> {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    if effective(&status).is_some_and(|set| set & (1 << CAP_NET_ADMIN) == 0) { Err(Error::Capability) } else { Ok(()) }
}

fn effective(status: &str) -> Option<u64> {
    let digits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(digits.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::effective;

    #[test]
    fn the_effective_set_is_read_as_a_hexadecimal_number() {
        assert_eq!(effective("Name:\tx\nCapPrm:\t00\nCapEff:\t0000000000003000\nCapBnd:\t00\n"), Some(0x3000));
        assert_eq!(effective("Name:\tx\n"), None);
    }
}
