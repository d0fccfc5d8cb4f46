//! The queue of a stopped server: its logs are read under the data directory's lock, and nothing in
//! them is changed.
//!
//! Three passes over the logs instead of memory for everything: what is alive, what was last answered,
//! and then the messages themselves, printed as they come.

use super::client::QueueError;
use super::row::Row;
use crate::config::Config;
use crate::message::{Id, PayloadView};
use crate::shard::{IN_DOUBT, Listed, log_options, logs_in, try_lock};
use crate::spool::entry::{self, Kind, message_payload};
use crate::spool::recover::{Fold, Live, Place, Recovered};
use mailrail_runtime::log::{RecordView, heads};
use mailrail_runtime::shard::run_one;
use std::collections::HashMap;
use std::fs::File;
use std::io;

/// The state of what no server works on.
const STOPPED: &str = "server stopped";

/// The lock of the spool; `None`: a server has it.
pub(super) fn lock_spool(config: &Config) -> Result<Option<File>, QueueError> {
    if !config.data_dir.join("spool").exists() {
        return Err(QueueError(format!(
            "{}: there is no spool here",
            config.data_dir.display()
        )));
    }
    try_lock(&config.data_dir).map_err(|error| QueueError(error.to_string()))
}

/// Calls `each` for every row of the queue, until it fails. Under the lock of the spool.
pub(super) fn each(
    config: &Config,
    _lock: &File,
    each: &mut dyn FnMut(&Row) -> io::Result<()>,
) -> Result<(), QueueError> {
    let spool_dir = config.data_dir.join("spool");
    let logs = logs_in(&spool_dir).map_err(|error| QueueError(error.to_string()))?;
    let read = run_one(async {
        let mut fold = Fold::new();
        records(config, &logs, &mut |kind, id, place, record| {
            let _ = fold.feed(kind, id, place, record.head);
        })
        .await?;
        let recovered = fold.finish();
        let answers = answers(config, &logs, &recovered).await?;
        let mut result = Ok(());
        records(config, &logs, &mut |kind, id, place, record| {
            if result.is_ok()
                && let Some(live) = find(&recovered, id)
                && live.place() == (kind, place)
            {
                result = rows(&recovered, live, kind, record.head, &answers, each);
            }
        })
        .await?;
        result.map_err(|error| QueueError(error.to_string()))
    });
    read.map_err(|error| QueueError(error.to_string()))?
}

/// Calls `each_one` for every recipient that waits in the spool of a stopped server.
pub(crate) fn each_recipient(
    config: &Config,
    each_one: &mut dyn FnMut(&str),
) -> Result<(), QueueError> {
    let lock = lock_spool(config)?
        .ok_or_else(|| QueueError(format!("a server uses {}", config.data_dir.display())))?;
    each(config, &lock, &mut |row| {
        row.recipients
            .iter()
            .for_each(|recipient| each_one(recipient));
        Ok(())
    })
}

async fn records(
    config: &Config,
    logs: &[u16],
    each: &mut dyn FnMut(Kind, Id, Place, &RecordView<'_>),
) -> Result<(), QueueError> {
    for log in logs {
        heads(&log_options(config, *log), &mut |record| {
            let place = Place {
                log: *log,
                segment: record.position.segment,
                offset: record.position.offset,
                len: record.position.len,
            };
            if let Some(kind) = Kind::from_number(record.kind) {
                each(kind, Id::from_bits(record.id), place, &record);
            }
        })
        .await
        .map_err(|error| QueueError(error.to_string()))?;
    }
    Ok(())
}

fn find(recovered: &Recovered, id: Id) -> Option<&Live> {
    let found = recovered.messages.binary_search_by_key(&id, |live| live.id);
    found.ok().map(|index| &recovered.messages[index])
}

type Answers = HashMap<(Id, u16), Vec<u8>>;

/// The last answers for all groups that wait.
async fn answers(
    config: &Config,
    logs: &[u16],
    recovered: &Recovered,
) -> Result<Answers, QueueError> {
    let mut answers = Answers::new();
    records(config, logs, &mut |kind, id, place, record| {
        let Some(live) = find(recovered, id) else {
            return;
        };
        for group in live.groups() {
            if live.answer_place(group) == Some(place)
                && let Ok(Some(answer)) = entry::last_answer(kind, record.head, group.first)
            {
                let mut bytes = Vec::new();
                answer.encode(&mut bytes);
                answers.insert((id, group.first), bytes);
            }
        }
    })
    .await?;
    Ok(answers)
}

fn rows(
    recovered: &Recovered,
    live: &Live,
    kind: Kind,
    head: &[u8],
    answers: &Answers,
    each: &mut dyn FnMut(&Row) -> io::Result<()>,
) -> io::Result<()> {
    let Ok(view) = message_payload(kind, head).and_then(PayloadView::decode_front) else {
        return Ok(());
    };
    for group in live.groups() {
        let doubt = recovered.in_doubt(live.id, group.first);
        for (bits, state) in [(group.open() & !doubt, STOPPED), (doubt, IN_DOUBT)] {
            if bits == 0 {
                continue;
            }
            let waiting = crate::deliver::Bits {
                first: group.first,
                bits,
            };
            let listed = Listed {
                id: live.id,
                accepted: live.accepted,
                sender: view.envelope.sender().to_vec(),
                recipients: waiting
                    .positions()
                    .map(|position| view.envelope.recipient(position).to_vec())
                    .collect(),
                attempt: group.attempt,
                next: group.next,
                state,
                last_answer: answers
                    .get(&(live.id, group.first))
                    .cloned()
                    .unwrap_or_default(),
            };
            each(&Row::new(&listed))?;
        }
    }
    Ok(())
}
