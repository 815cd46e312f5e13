//! Numbers and addresses as text, without the machinery of `std::fmt`: a line of the default format holds eighteen of them, and
//! their formatting was two thirds of its cost.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The numbers of one byte: their digits, and how many.
static BYTES: [([u8; 3], u8); 256] = {
    let (mut table, mut value) = ([([0; 3], 0); 256], 0);
    while value < table.len() {
        let digits = [b'0' + (value / 100) as u8, b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8];
        table[value] = match value {
            0..10 => ([digits[2], 0, 0], 1),
            10..100 => ([digits[1], digits[2], 0], 2),
            _ => (digits, 3),
        };
        value += 1;
    }
    table
};

/// Bytes of the longest IPv4 address with its port.
const LONGEST: usize = "255.255.255.255:65535".len();

/// Appends a number in decimal.
pub fn number(out: &mut Vec<u8>, mut value: u64) {
    if let Some((digits, count)) = usize::try_from(value).ok().and_then(|value| BYTES.get(value)) {
        return out.extend_from_slice(&digits[..usize::from(*count)]);
    }
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
            let (mut text, mut length) = dotted(*four.ip());
            text[length] = b':';
            length += 1;
            let (mut port, mut place) = (four.port(), length + digits(four.port()));
            let end = place;
            while place > length {
                place -= 1;
                text[place] = b'0' + (port % 10) as u8;
                port /= 10;
            }
            out.extend_from_slice(&text[..end]);
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
            let (text, length) = dotted(four);
            out.extend_from_slice(&text[..length]);
        }
        IpAddr::V6(_) => {
            let _ = write!(out, "{address}");
        }
    }
}

/// Dotted decimal and its length. Each byte is written with four, of which the next overwrites those that are too many.
fn dotted(address: Ipv4Addr) -> ([u8; LONGEST], usize) {
    let (mut text, mut length) = ([0; LONGEST], 0);
    for octet in address.octets() {
        let ([first, second, third], count) = BYTES[usize::from(octet)];
        let after = length + usize::from(count);
        text[length..length + 3].copy_from_slice(&[first, second, third]);
        text[after] = b'.';
        length = after + 1;
    }
    (text, length - 1)
}

/// How many digits a port has.
fn digits(port: u16) -> usize {
    match port {
        0..10 => 1,
        10..100 => 2,
        100..1000 => 3,
        1000..10_000 => 4,
        _ => 5,
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
        for value in (0..=1001).chain([65_535, u64::from(u32::MAX), u64::MAX]) {
            assert_eq!(written(&|out| number(out, value)), value.to_string());
        }
        assert_eq!(written(&|out| padded(out, 7, 3)), "007");
        assert_eq!(written(&|out| padded(out, 2026, 4)), "2026");
        for text in [
            "1.2.3.4:5",
            "255.255.255.255:65535",
            "0.0.0.0:0",
            "9.10.99.100:9",
            "10.0.0.1:10",
            "10.0.0.1:99",
            "10.0.0.1:100",
            "10.0.0.1:999",
            "10.0.0.1:1000",
            "10.0.0.1:10000",
            "[::1]:80",
            "[2001:db8::7]:443",
        ] {
            let parsed: SocketAddr = text.parse().unwrap();
            assert_eq!(written(&|out| address(out, parsed)), text);
            assert_eq!(written(&|out| ip(out, parsed.ip())), parsed.ip().to_string());
        }
    }
}
