//! Reads of documents by name: GetDocument of one, BatchGetDocuments of more, which answers in a stream.

use std::collections::{HashMap, HashSet};

use firestore::gcloud_sdk::google::firestore::v1::batch_get_documents_request::ConsistencySelector;
use firestore::gcloud_sdk::google::firestore::v1::batch_get_documents_response::Result as Answer;
use firestore::gcloud_sdk::google::firestore::v1::transaction_options::{Mode, ReadWrite};
use firestore::gcloud_sdk::google::firestore::v1::{
    BatchGetDocumentsRequest, DocumentMask, GetDocumentRequest, TransactionOptions,
};
use firestore::gcloud_sdk::tonic::Code;
use futures::stream::{self, StreamExt as _};
use statestore_api::backend::check;
use statestore_api::{Entry, Error, Key, Result};

use super::FirestoreStore;
use super::codec::{Found, WITHOUT_VALUE};
use super::connection::{streamed, to_its_end, unary};
use crate::batch::{again, in_order};

/// How many documents are asked for in one request. Firestore has no limit but the request's 10 MiB, and answers in a stream.
const CHUNK: usize = 1000;

/// How many chunks are under way at once.
const CONCURRENCY: usize = 4;

/// What is read of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parts {
    All,
    /// All but the value.
    Meta,
}

impl FirestoreStore {
    /// The document of `key`, expired or not.
    pub(super) async fn find(&self, key: &Key, parts: Parts) -> Result<Option<Found>> {
        let name = self.names.document(key);
        let request = GetDocumentRequest {
            name: name.clone(),
            mask: mask(parts),
            ..Default::default()
        };
        let mut client = self.connection.client().await?;
        let context = self.context(false);
        let request = unary(request, context.timeout);
        match to_its_end(async move { client.get_document(request).await }).await {
            Ok(document) => Found::decode(key, document.into_inner(), parts == Parts::All).map(Some),
            Err(status) if status.code() != Code::NotFound => Err(self.failed(context, status)),
            // The document is missing, or the whole database: the words tell, and where they do not, BatchGetDocuments does.
            Err(status) if status.message().contains(&name) => Ok(None),
            Err(_) => {
                let looked = self.documents(vec![key.clone()], parts, false).await?;
                looked.documents.into_iter().flatten().next().transpose()
            }
        }
    }

    /// The documents of these keys, which are told apart, in their order. If `locked`, in a transaction that has to be ended.
    pub(super) async fn documents(&self, keys: Vec<Key>, parts: Parts, locked: bool) -> Result<Documents> {
        let request = BatchGetDocumentsRequest {
            database: self.names.database().to_owned(),
            documents: keys.iter().map(|key| self.names.document(key)).collect(),
            mask: mask(parts),
            consistency_selector: locked.then(|| {
                ConsistencySelector::NewTransaction(TransactionOptions {
                    mode: Some(Mode::ReadWrite(ReadWrite::default())),
                })
            }),
            ..Default::default()
        };
        let mut client = self.connection.client().await?;
        let context = self.context(false);
        let request = streamed(request, context.timeout);
        let mut found = Documents {
            documents: keys.iter().map(|_| None).collect(),
            transaction: Vec::new(),
            keys,
        };
        let names = self.names.clone();
        let read = to_its_end(async move {
            // Answers mostly come in the order of the keys, but need not.
            let (mut next, mut places) = (0, None);
            let mut answers = client.batch_get_documents(request).await?.into_inner();
            while let Some(answer) = answers.message().await? {
                if !answer.transaction.is_empty() {
                    found.transaction = answer.transaction;
                }
                let name = match &answer.result {
                    Some(Answer::Found(document)) => &document.name,
                    Some(Answer::Missing(name)) => name,
                    None => continue,
                };
                let place = match found.keys.get(next) {
                    Some(expected) if names.is_of(name, expected) => next,
                    _ => {
                        let places = places.get_or_insert_with(|| places_of(&found.keys));
                        let key = names.key(name);
                        let Some(place) = key.and_then(|key| places.get(&key).copied()) else {
                            continue;
                        };
                        place
                    }
                };
                next = place + 1;
                if let Some(Answer::Found(document)) = answer.result {
                    // While the next is on its way.
                    let read = Found::decode(&found.keys[place], document, parts == Parts::All);
                    found.documents[place] = Some(read);
                }
            }
            Ok(found)
        });
        read.await.map_err(|status| self.failed(context, status))
    }

    pub(super) async fn get_all(&self, keys: &[Key]) -> Vec<Result<Option<Entry>>> {
        // A key that is refused does not stop the others, and each is asked for once.
        let mut seen = HashSet::with_capacity(keys.len());
        let wanted: Vec<Key> = keys
            .iter()
            .filter(|key| check::key(&self.capabilities, key).is_ok() && seen.insert(*key))
            .cloned()
            .collect();
        // Mostly each key is there once, and they fit into one request.
        if wanted.len() == keys.len() && (1..=CHUNK).contains(&wanted.len()) {
            return self.get_chunk(wanted).await;
        }
        let chunks: Vec<Vec<Result<Option<Entry>>>> = stream::iter(wanted.chunks(CHUNK).map(<[Key]>::to_vec))
            .map(|chunk| self.get_chunk(chunk))
            .buffered(CONCURRENCY)
            .collect()
            .await;
        let entries = chunks.into_iter().flatten();
        in_order(keys, wanted.into_iter().zip(entries).collect(), |key| {
            check::key(&self.capabilities, key)
        })
    }

    /// What is under each of these keys, in their order.
    async fn get_chunk(&self, keys: Vec<Key>) -> Vec<Result<Option<Entry>>> {
        let count = keys.len();
        let found = match self.documents(keys, Parts::All, false).await {
            Ok(found) => found,
            Err(error) => return all_failed(count, error),
        };
        let now = self.now();
        let found = found.keys.iter().zip(found.documents);
        let entries = found.map(|(key, found)| match found {
            Some(found) => found?.into_entry(key, now),
            None => Ok(None),
        });
        entries.collect()
    }
}

fn places_of(keys: &[Key]) -> HashMap<Key, usize> {
    let keys = keys.iter().cloned().enumerate();
    keys.map(|(place, key)| (key, place)).collect()
}

/// What is read of a document; `None`: all.
fn mask(parts: Parts) -> Option<DocumentMask> {
    (parts == Parts::Meta).then(|| DocumentMask {
        field_paths: WITHOUT_VALUE.map(str::to_owned).to_vec(),
    })
}

/// What a read of several documents found.
pub(super) struct Documents {
    /// Those that were asked for.
    keys: Vec<Key>,
    /// By the places of the keys; `None` where none is there.
    pub(super) documents: Vec<Option<Result<Found>>>,
    /// The transaction that was begun; empty if none was.
    pub(super) transaction: Vec<u8>,
}

/// The error of a request for this many keys.
fn all_failed<T>(count: usize, error: Error) -> Vec<Result<T>> {
    let mut failed: Vec<Result<T>> = (1..count).map(|_| Err(again(&error))).collect();
    failed.push(Err(error));
    failed
}
