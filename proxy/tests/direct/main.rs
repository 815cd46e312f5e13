//! The data plane in one process over real sockets, against scripted peers.

mod fixture;
mod http_fixture;
mod mesh;
mod tcp_fixture;

mod captured;
mod doors;
mod gateway_tls;
mod generations;
mod http;
mod http2;
mod http2_streams;
mod http_codecs;
mod http_policies;
mod http_records;
mod http_retries;
mod listeners;
mod mesh_http;
mod mutual_tls;
mod server_first;
mod tcp;
mod tcp_bulk;
