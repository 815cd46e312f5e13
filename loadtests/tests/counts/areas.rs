//! Pure: which part of the proxy an instruction belongs to.
//!
//! Code is attributed to the file it was written in, also where it was inlined into something else, so that the table says whose
//! code to look at. The standard library and other code that belongs to whoever calls it goes by the function it is in.

/// A part, and what the paths of its files and the names of its functions contain; the first that fits counts.
const AREAS: &[(&str, &[&str], &[&str])] = &[
    ("router", &["proxy/src/router/", "proxy/src/filter/", "config/src/"], &["outrigger_proxy::router", "outrigger_config"]),
    ("HTTP and headers", &["proxy/src/http/"], &["outrigger_proxy::http"]),
    ("telemetry", &["proxy/src/telemetry/"], &["outrigger_proxy::telemetry"]),
    ("pools and balancing", &["proxy/src/upstream/"], &["outrigger_proxy::upstream"]),
    ("connections, the rest", &["proxy/src/"], &["outrigger_proxy"]),
    ("allocator", &["jemalloc", "./malloc/"], &["_rjem_", "jemalloc"]),
    ("hyper, httparse", &["/hyper-", "/httparse-", "/h2-"], &["hyper::", "httparse::", "h2::", "hyper_util::"]),
    ("http, bytes", &["/http-", "/bytes-", "/http-body-"], &["http::", "bytes::", "http_body"]),
    ("TLS", &["/rustls-", "/tokio-rustls-", "aws-lc"], &["rustls::", "aws_lc", "tokio_rustls"]),
    ("tokio", &["/tokio-", "/mio-"], &["tokio::", "mio::", "futures_"]),
    ("copies and comparisons", &["./string/"], &["memcpy", "memmove", "memcmp", "bcmp", "memset"]),
];

/// Where neither tells.
const OTHER: &str = "other";

/// The part that this file, or else this function, belongs to.
pub fn of(file: &str, function: &str) -> &'static str {
    let by_file = AREAS.iter().find(|(_, files, _)| files.iter().any(|part| file.contains(part)));
    let by_function = || AREAS.iter().find(|(_, _, functions)| functions.iter().any(|part| function.contains(part)));
    by_file.or_else(by_function).map_or(OTHER, |(area, ..)| area)
}

#[test]
fn code_goes_by_its_file_and_the_standard_library_by_its_function() {
    for (file, function, area) in [
        ("/src/proxy/src/router/split.rs", "hyper::server::poll", "router"),
        ("/registry/hyper-1.12.0/src/proto/h1/io.rs", "outrigger_proxy::router::attempt", "hyper, httparse"),
        ("/rustc/1/library/core/src/ptr/mod.rs", "core::ptr::drop_in_place<outrigger_proxy::telemetry::record::HttpRecord>", "telemetry"),
        ("/registry/http-1.5.0/src/header/map.rs", "http::header::map::HeaderMap<T>::insert", "http, bytes"),
        ("/build/src/tcache.c", "_rjem_malloc", "allocator"),
        ("./elf/dl.c", "_start", "other"),
    ] {
        assert_eq!(of(file, function), area, "{file} {function}");
    }
}
