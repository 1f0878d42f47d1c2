//! Runs tasks one at a time, in an order that a seed decides.
//!
//! All runnable tasks are in one set, from which the next task is drawn. Virtual time moves only when no task is
//! runnable, to the time of the next sleeper. When a process dies, its tasks end before their next step.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::chance::Dice;
use crate::lock::lock;
use crate::timeline::{Timeline, Work};

/// The tasks that can run now, from which the executor selects the next.
#[derive(Default)]
struct Ready(Mutex<Vec<Arc<Waking>>>);

struct Waking {
    /// The slot of the task. After the task has ended, another task may use the slot.
    slot: usize,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            lock(&self.ready.0).push(Arc::clone(self));
        }
    }
}

struct Task {
    work: Work,
    waking: Arc<Waking>,
    waker: Waker,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The main task has ended.
    Done,
    /// No task is runnable, and none sleeps.
    Stuck,
    /// The tasks made more steps than a drop can need.
    Endless,
}

/// The running tasks. The slot of an ended task is used again.
#[derive(Default)]
struct Tasks {
    slots: Vec<Option<Task>>,
    empty: Vec<usize>,
    of_process: BTreeMap<u64, Vec<Arc<Waking>>>,
    ready: Arc<Ready>,
}

impl Tasks {
    fn start(&mut self, process: Option<u64>, work: Work) -> Arc<Waking> {
        let slot = self.empty.pop().unwrap_or(self.slots.len());
        let waking = Arc::new(Waking {
            slot,
            queued: AtomicBool::new(false),
            ready: Arc::clone(&self.ready),
        });
        waking.wake_by_ref();
        if let Some(process) = process {
            let tasks = self.of_process.entry(process).or_default();
            // Ended tasks are removed from the list only here, since no other place needs the list to be
            // short.
            tasks.retain(|task| Arc::strong_count(task) > 1);
            tasks.push(Arc::clone(&waking));
        }
        let task = Some(Task {
            work,
            waker: Waker::from(Arc::clone(&waking)),
            waking: Arc::clone(&waking),
        });
        match self.slots.get_mut(slot) {
            Some(empty) => *empty = task,
            None => self.slots.push(task),
        }
        waking
    }

    fn task(&mut self, waking: &Arc<Waking>) -> Option<&mut Task> {
        let task = self.slots.get_mut(waking.slot)?.as_mut()?;
        Arc::ptr_eq(&task.waking, waking).then_some(task)
    }

    fn end(&mut self, waking: &Arc<Waking>) {
        if self.task(waking).is_some()
            && let Some(slot) = self.slots.get_mut(waking.slot)
        {
            *slot = None;
            self.empty.push(waking.slot);
        }
    }

    fn kill(&mut self, process: u64) {
        for waking in self.of_process.remove(&process).unwrap_or_default() {
            self.end(&waking);
        }
    }
}

/// Runs `main` and all tasks that it spawns, until `main` ends or `most_steps` steps were made. Remaining
/// tasks are dropped.
pub fn run(timeline: &Timeline, order: u64, most_steps: u64, main: Work) -> Ended {
    let mut dice = Dice::new(order);
    let mut tasks = Tasks::default();
    let main_task = tasks.start(None, main);
    let (mut spawned, mut killed) = (Vec::new(), Vec::new());
    let mut steps = 0_u64;
    let ended = loop {
        timeline.take_spawned(&mut spawned);
        for (process, work) in spawned.drain(..) {
            tasks.start(process, work);
        }
        let next = {
            let mut ready = lock(&tasks.ready.0);
            (!ready.is_empty()).then(|| {
                let at = usize::try_from(dice.below(ready.len() as u64)).unwrap_or(0);
                ready.swap_remove(at)
            })
        };
        let Some(next) = next else {
            if timeline.advance() {
                continue;
            }
            break Ended::Stuck;
        };
        let Some(task) = tasks.task(&next) else {
            continue;
        };
        steps += 1;
        if steps > most_steps {
            break Ended::Endless;
        }
        next.queued.store(false, Ordering::Relaxed);
        if task.work.as_mut().poll(&mut Context::from_waker(&task.waker)) == Poll::Ready(()) {
            tasks.end(&next);
            if Arc::ptr_eq(&next, &main_task) {
                break Ended::Done;
            }
        }
        timeline.take_killed(&mut killed);
        for process in killed.drain(..) {
            tasks.kill(process);
        }
    };
    timeline.count_steps(steps);
    drop(tasks);
    timeline.take_spawned(&mut spawned);
    ended
}
