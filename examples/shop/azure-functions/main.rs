//! The shop on Azure Functions, as a custom handler: the host, on the same machine, forwards each request to the port that it names.

use std::net::Ipv4Addr;

use statestore::BoxError;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    statestore_shop::log();
    statestore_shop::listen(Ipv4Addr::LOCALHOST.into(), "FUNCTIONS_CUSTOMHANDLER_PORT").await
}
