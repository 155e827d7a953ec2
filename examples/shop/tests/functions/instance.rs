//! An instance of the function: a process, started and reached as its runtime does it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use statestore_conformance::servers::{Group, Process, Program, ServerError, free_port};
use tokio::net::TcpStream;

use crate::lambda::Environment;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Runtime {
    AwsLambda,
    AzureFunctions,
    CloudRun,
}

pub(crate) struct Instance {
    process: Process,
    way: Way,
}

enum Way {
    Lambda(Environment),
    Http(SocketAddr),
}

/// How long a start or an answer may take on a machine that has much else to do.
const LIMIT: Duration = Duration::from_secs(30);

impl Instance {
    pub(crate) async fn start(runtime: Runtime, store: &str) -> Self {
        let mut attempts = 5;
        loop {
            attempts -= 1;
            match Self::start_once(runtime, store).await {
                // Another process was quicker to take the port.
                Err(ServerError::Ended { output, .. }) if attempts > 0 && output.contains("AddrInUse") => {}
                started => return started.unwrap(),
            }
        }
    }

    async fn start_once(runtime: Runtime, store: &str) -> Result<Self, ServerError> {
        let port = free_port().unwrap();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (program, variables, way) = match runtime {
            Runtime::AwsLambda => {
                let environment = Environment::start().await;
                let variables = environment.variables();
                (
                    env!("CARGO_BIN_EXE_aws-lambda"),
                    variables,
                    Way::Lambda(environment),
                )
            }
            Runtime::AzureFunctions => (
                env!("CARGO_BIN_EXE_azure-functions"),
                vec![format!("FUNCTIONS_CUSTOMHANDLER_PORT={port}")],
                Way::Http(addr),
            ),
            Runtime::CloudRun => (
                env!("CARGO_BIN_EXE_cloud-run"),
                vec![format!("PORT={port}"), "LISTEN_HOST=127.0.0.1".to_owned()],
                Way::Http(addr),
            ),
        };
        // `env` becomes the program, which has its process number.
        let mut command = Program::new("env").arg(format!("STATESTORE_URL={store}"));
        for variable in variables {
            command = command.arg(variable);
        }
        let group = Group::new("shop")?;
        let name = format!("the shop on {runtime:?}");
        let process = Process::spawn(
            &group,
            &name,
            &group.folder().join("instance"),
            command.arg(program),
        )?;
        let instance = Self { process, way };
        if let Way::Http(addr) = instance.way {
            instance.wait_until_it_listens(addr).await?;
        }
        Ok(instance)
    }

    async fn wait_until_it_listens(&self, addr: SocketAddr) -> Result<(), ServerError> {
        let connects = async || {
            let connection = TcpStream::connect(addr).await;
            connection.map(drop).map_err(|source| ServerError::Io {
                doing: "connecting to the shop".to_owned(),
                source,
            })
        };
        self.process.wait_until_ready(LIMIT, connects).await
    }

    /// Starts another instance in the place of one that was killed: on the same port.
    pub(crate) async fn start_again(&self) {
        self.process.respawn().unwrap();
        self.wait_until_it_listens(self.addr()).await.unwrap();
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        match self.way {
            Way::Http(addr) => addr,
            Way::Lambda(_) => panic!("a function on Lambda does not listen"),
        }
    }

    /// The page's address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.addr())
    }

    /// What the visitor is answered, or why nothing.
    pub(crate) async fn send(&self, request: Request<String>) -> Result<Response<String>, String> {
        self.answered(async {
            match &self.way {
                Way::Lambda(environment) => environment.invoke(request).await,
                Way::Http(addr) => over_http(*addr, request).await,
            }
        })
        .await
    }

    /// What an event that is no visitor's request is answered on Lambda.
    pub(crate) async fn send_event(&self, event: Value) -> Result<Response<String>, String> {
        let Way::Lambda(environment) = &self.way else {
            panic!("only Lambda has events");
        };
        self.answered(environment.invoke_with(event)).await
    }

    async fn answered(
        &self,
        sent: impl Future<Output = Result<Response<String>, String>>,
    ) -> Result<Response<String>, String> {
        match tokio::time::timeout(LIMIT, sent).await {
            Ok(answered) => answered,
            Err(_) => Err(format!(
                "no answer; the instance said:\n{}",
                self.process.output()
            )),
        }
    }

    /// Ends it with SIGKILL. What waits for it learns that it is gone.
    pub(crate) fn kill(&self) {
        self.process.kill().unwrap();
        if let Way::Lambda(environment) = &self.way {
            environment.ended();
        }
    }

    /// All that it has printed.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.process.folder().join("output.log")).unwrap()
    }

    /// Its log's events with this message.
    pub(crate) fn logged(&self, message: &str) -> Vec<Value> {
        let output = self.output();
        let events = output.lines().map(|line| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("this is no JSON: {line}"))
        });
        events.filter(|event| event["message"] == message).collect()
    }
}

async fn over_http(addr: SocketAddr, mut request: Request<String>) -> Result<Response<String>, String> {
    let path = request.uri().path_and_query().unwrap();
    *request.uri_mut() = format!("http://{addr}{path}").parse().unwrap();
    // A connection of its own for each request, as from machines of their own.
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request.map(Body::from)).await;
    let (head, body) = answer.map_err(|error| error.to_string())?.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?;
    let body = String::from_utf8(body.to_bytes().into()).unwrap();
    Ok(Response::from_parts(head, body))
}
