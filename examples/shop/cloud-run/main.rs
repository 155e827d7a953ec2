//! The shop on Cloud Run, which names the container's port. `LISTEN_HOST` is for running it elsewhere: by default it listens on all addresses.

use std::net::{IpAddr, Ipv4Addr};

use statestore::BoxError;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    statestore_shop::log();
    let host = match std::env::var("LISTEN_HOST") {
        Ok(host) => host.parse()?,
        Err(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
    };
    statestore_shop::listen(host, "PORT").await
}
