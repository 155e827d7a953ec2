//! The shop on AWS Lambda, behind a function URL or an HTTP API.

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    statestore_shop::log();
    let app = statestore_shop::app().await?;
    lambda_http::run(app).await
}
