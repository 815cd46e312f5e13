//! Numbers and addresses as text, without the machinery of `std::fmt`: a line of the default format holds eighteen of them, and
//! their formatting was two thirds of its cost.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// Appends a number in decimal.
pub fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[from..]);
}

/// Appends the last `digits` decimal digits of a number.
pub fn padded(out: &mut Vec<u8>, value: u32, digits: u32) {
    for place in (0..digits).rev() {
        out.push(b'0' + (value / 10u32.pow(place) % 10) as u8);
    }
}

/// Appends an address and its port.
pub fn address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(four) => {
            ip(out, IpAddr::V4(*four.ip()));
            out.push(b':');
            number(out, u64::from(four.port()));
        }
        SocketAddr::V6(_) => {
            let _ = write!(out, "{address}");
        }
    }
}

/// Appends an address.
pub fn ip(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(four) => {
            for (position, octet) in four.octets().into_iter().enumerate() {
                if position > 0 {
                    out.push(b'.');
                }
                number(out, u64::from(octet));
            }
        }
        IpAddr::V6(_) => {
            let _ = write!(out, "{address}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_the_standard_library() {
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap()
        };
        for value in [0, 7, 10, 99, 100, 65_535, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(written(&|out| number(out, value)), value.to_string());
        }
        assert_eq!(written(&|out| padded(out, 7, 3)), "007");
        assert_eq!(written(&|out| padded(out, 2026, 4)), "2026");
        for text in ["1.2.3.4:5", "255.255.255.255:65535", "0.0.0.0:0", "[::1]:80", "[2001:db8::7]:443"] {
            let parsed: SocketAddr = text.parse().unwrap();
            assert_eq!(written(&|out| address(out, parsed)), text);
            assert_eq!(written(&|out| ip(out, parsed.ip())), parsed.ip().to_string());
        }
    }
}
