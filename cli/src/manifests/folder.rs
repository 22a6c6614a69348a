//! The objects of a folder, held as a cluster would hold them: an update that
//! is refused changes nothing, a file that no longer parses keeps what it gave
//! before, and only a document that is gone takes its object with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::{Environment, Kind, ObjectKey, Schemas};

/// A manifest larger than this is refused: etcd would refuse it too.
const MAX_FILE_BYTES: u64 = 1_572_864;
/// Files of a folder, and documents of a file.
const MAX_FILES: usize = 1_000;
const MAX_DOCUMENTS: usize = 1_000;

/// What `run` reads and `kubectl` doesn't: told, as a manifest should mean the same to both.
const UNQUOTED_ON: &str = "has retry.on without quotes, which kubectl (YAML 1.1) reads as true and a cluster refuses: write \"on\"";

/// An object that was taken. No `Debug`: it may be a Secret.
#[derive(Clone, PartialEq)]
pub(crate) struct Object {
    /// The whole manifest, defaults and variables filled in.
    pub(crate) document: Value,
    /// Grows with each change of `spec`, from 1, as an API server counts it.
    pub(crate) generation: i64,
    /// When it was first taken: the older of two routes wins a match.
    pub(crate) created_unix_ms: i64,
}

/// Something that was not taken, or not whole; for the terminal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// The file, relative to the folder; empty for the folder itself.
    pub(crate) file: String,
    /// The object, where one could be named.
    pub(crate) object: String,
    pub(crate) message: String,
}

/// What one file gave when it last parsed.
#[derive(Default)]
struct Given {
    keys: BTreeSet<ObjectKey>,
}

/// A folder of manifests and what it holds.
pub(crate) struct Folder {
    dir: PathBuf,
    namespace: String,
    environment: Environment,
    schemas: Schemas,
    files: BTreeMap<String, Given>,
    objects: BTreeMap<ObjectKey, Object>,
}

// ------------------------------------------------------------- impl Problem

impl Problem {
    /// The folder itself couldn't be read, so that none of its files was.
    pub(crate) fn is_of_the_folder(&self) -> bool {
        self.file.is_empty()
    }
}

// -------------------------------------------------------------- impl Folder

impl Folder {
    pub(crate) fn new(
        dir: &Path,
        namespace: String,
        environment: Environment,
        schemas: Schemas,
    ) -> Self {
        Self {
            dir: dir.to_owned(),
            namespace,
            environment,
            schemas,
            files: BTreeMap::new(),
            objects: BTreeMap::new(),
        }
    }

    pub(crate) fn objects(&self) -> &BTreeMap<ObjectKey, Object> {
        &self.objects
    }

    /// Reads every manifest of the folder anew (`*.yaml`, `*.yml`, `*.json`;
    /// not its subfolders, like `kubectl apply -f`). What can't be taken is
    /// told and leaves what was there.
    pub(crate) fn reload(&mut self, now_unix_ms: i64) -> Vec<Problem> {
        let mut problems = Vec::new();
        let names = match file_names(&self.dir) {
            Ok(names) => names,
            Err(error) => {
                let message = format!("can't read the folder: {error}");
                return vec![Problem {
                    file: String::new(),
                    object: String::new(),
                    message,
                }];
            }
        };
        let mut owners: BTreeMap<ObjectKey, String> = BTreeMap::new();
        let mut files = BTreeMap::new();
        for name in names {
            let before = self.files.remove(&name).unwrap_or_default();
            let given = match read_file(&self.dir.join(&name)) {
                Ok(File {
                    documents,
                    unquoted_on,
                }) => {
                    if unquoted_on {
                        problems.push(Problem {
                            file: name.clone(),
                            object: String::new(),
                            message: UNQUOTED_ON.to_owned(),
                        });
                    }
                    self.take_file(&name, documents, now_unix_ms, &owners, &mut problems)
                }
                Err(mut message) => {
                    if !before.keys.is_empty() {
                        message.push_str(": what it gave before stays in force until it is mended");
                    }
                    problems.push(Problem {
                        file: name.clone(),
                        object: String::new(),
                        message,
                    });
                    before
                }
            };
            owners.extend(given.keys.iter().map(|key| (key.clone(), name.clone())));
            files.insert(name, given);
        }
        self.files = files;
        self.objects.retain(|key, _| owners.contains_key(key));
        problems
    }

    fn take_file(
        &mut self,
        file: &str,
        documents: Vec<Value>,
        now_unix_ms: i64,
        owners: &BTreeMap<ObjectKey, String>,
        problems: &mut Vec<Problem>,
    ) -> Given {
        let mut given = Given::default();
        for document in documents {
            let mut tell = |object: String, message: String| {
                problems.push(Problem {
                    file: file.to_owned(),
                    object,
                    message,
                });
            };
            let key = match ObjectKey::of(&document, &self.namespace) {
                Ok(Some(key)) => key,
                Ok(None) => continue,
                Err(error) => {
                    tell(String::new(), error.to_string());
                    continue;
                }
            };
            if let Some(other) = owners.get(&key) {
                tell(
                    key.to_string(),
                    format!("is in {other} already; that one is used"),
                );
                continue;
            }
            if !given.keys.insert(key.clone()) {
                tell(
                    key.to_string(),
                    "stands twice in this file; the first one is used".to_owned(),
                );
                continue;
            }
            match self.prepare(&key, document, &mut tell) {
                Ok(document) => self.store(key, document, now_unix_ms),
                Err(messages) => {
                    let kept = self.objects.contains_key(&key);
                    let note = if kept {
                        " (the version before stays in force)"
                    } else {
                        ""
                    };
                    for message in messages {
                        tell(key.to_string(), format!("{message}{note}"));
                    }
                }
            }
        }
        given
    }

    /// What the API server would store for this document, or why it refuses.
    fn prepare(
        &self,
        key: &ObjectKey,
        mut document: Value,
        tell: &mut impl FnMut(String, String),
    ) -> Result<Value, Vec<String>> {
        if key.kind == Kind::Secret {
            for unset in self.environment.fill_in(&mut document) {
                let (name, variable) = (&unset.key, &unset.variable);
                tell(
                    key.to_string(),
                    format!("stringData.{name} is left out: {variable} isn't set"),
                );
            }
        }
        if key.kind != Kind::Namespace
            && let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.insert("namespace".to_owned(), key.namespace.clone().into());
        }
        let old = self.objects.get(key).map(|o| &o.document);
        self.schemas.admit(key.kind, document, old)
    }

    fn store(&mut self, key: ObjectKey, document: Value, now_unix_ms: i64) {
        if let Some(object) = self.objects.get_mut(&key) {
            if object.document.get("spec") != document.get("spec") {
                object.generation += 1;
            }
            object.document = document;
        } else {
            let object = Object {
                document,
                generation: 1,
                created_unix_ms: now_unix_ms,
            };
            self.objects.insert(key, object);
        }
    }
}

/// The manifests of a folder by name, sorted, so that two runs agree on who came first.
fn file_names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let manifest = [".yaml", ".yml", ".json"]
            .iter()
            .any(|end| name.ends_with(end));
        if manifest && !name.starts_with('.') && entry.path().is_file() {
            names.push(name);
        }
    }
    if names.len() > MAX_FILES {
        return Err(io::Error::other(format!("more than {MAX_FILES} manifests")));
    }
    names.sort_unstable();
    Ok(names)
}

/// What stands in a file.
struct File {
    /// Empty ones (a lone `---`) are none.
    documents: Vec<Value>,
    /// See [`UNQUOTED_ON`].
    unquoted_on: bool,
}

fn read_file(path: &Path) -> Result<File, String> {
    let size = fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("is larger than {MAX_FILE_BYTES} bytes; split it"));
    }
    let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(&text) {
        if documents.len() == MAX_DOCUMENTS {
            return Err(format!("has more than {MAX_DOCUMENTS} documents; split it"));
        }
        let value = Value::deserialize(document).map_err(|e| format!("isn't YAML: {e}"))?;
        if !value.is_null() {
            documents.push(value);
        }
    }
    let ours = |document: &Value| document["kind"] == "LLMRoute";
    let unquoted_on = documents.iter().any(ours) && text.lines().any(has_unquoted_on);
    Ok(File {
        documents,
        unquoted_on,
    })
}

/// Whether a line has `on:` as a key, in block or flow style.
fn has_unquoted_on(line: &str) -> bool {
    let line = line.split(" #").next().unwrap_or_default().trim_start();
    let key = |(at, _)| {
        let before = line[..at].chars().next_back();
        !line.starts_with('#') && before.is_none_or(|c| matches!(c, ' ' | '{' | ','))
    };
    line.match_indices("on:").any(key)
}

#[cfg(test)]
mod tests;
