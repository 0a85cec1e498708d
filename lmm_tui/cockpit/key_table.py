"""The key bindings of the application, one a line, as text that `lmm_tui.cockpit.keys` reads.

A section heading gives the first part of the ids in brackets, then named fields:

- where: the place in which the keys work, one of `lmm_tui.cockpit.keys.Where`
- group: heading of the section in the help screen; without one it is not listed there
- action: the action of rows that give none, with `*` for their name; without one, the name

A row has these columns, at least two spaces apart:

- name: second part of the id; `run.pause` is the id by which `keys.toml` gives a row other keys
- keys: as a character or by Textual's name, a space between several
- bar: rank in the key bar, the highest is dropped first; `-`: not in it
- palette: `*` if the command palette lists it, else `-`
- title: for the key bar and the palette
- help: a sentence for the help screen
- action: a Textual action of the node named by `where`, optional

Titles, help and groups are translated in `lmm_tui/i18n/zh/keys.toml`.
"""

TABLE = """
[go]  where: app  group: Screens  action: app.go('*')
dashboard    1  -  *  dashboard    Curves, probes, samples and events of the open run
runs         2  -  *  runs         All runs: open, compare, rename, resume, delete
samples      3  -  *  samples      Generated text by step, chat, and the loss of each token
evaluate     4  -  *  evaluate     Score a checkpoint on tasks, compare steps and runs
checkpoints  5  -  *  checkpoints  Saved checkpoints: pin, evaluate, export, fork, delete
log          6  -  *  log          Printed output of the run: follow, search, filter
system       7  -  *  system       CPU, memory, disk and GPUs of this machine
configure    8  -  *  configure    Set up a new run and start it
ranks        9  -  *  ranks        Processes of a run on several GPUs: who waits for whom

[place]  where: place  group: Screens
back  escape  -  -  back  Go back to the dashboard from any other screen

[run]  where: dashboard  group: Run
probe         p      3   *  sample       Probe and sample the live model now
pause         space  5   *  pause        Pause or resume; the model stays in memory  toggle_pause
set           L      6   *  change LR    Set learning rate, clipping, intervals  app.change_settings
checkpoint    c      7   *  checkpoint   Write a checkpoint after the current step
validate      v      8   *  validate     Measure the validation loss now
export        e      9   *  export       Write the plots as PNG files, in a worker process
export_shown  E      -   *  export view  Export what is shown: PNG, SVG or CSV

[next]  where: dashboard  group: Run
back    b  -  *  step back  Go back to before the run diverged; LR / 3  step_back
resume  R  -  *  resume     Resume an ended run, or train it longer  resume_run
fork    f  -  *  fine-tune  Set up a new run that starts from this one  fork_run

[view]  where: dashboard  group: View
next      ] pagedown  4   -  next page      Show the next page of panels  turn_page(1)
previous  [ pageup    -   -  previous page  Show the previous page of panels  turn_page(-1)
zoom      enter z     10  -  zoom           Show the focused panel full screen, or restore it
restore   escape      -   -  back           Restore a zoomed panel, drop cursor and focus

[focus]  where: charts  group: View
next      tab down j      -  -  next panel      Focus the next panel  app.focus_next
previous  shift+tab up k  -  -  previous panel  Focus the previous panel  app.focus_previous

[chart]  where: charts  group: Charts: the focused one, or all  action: gesture('*')
in            + =          11  *  zoom in       Zoom in around the cursor, or at the live edge
out           -            -   *  zoom out      Zoom out to twice as many steps
left          left h       -   *  pan left      Pan left by half the window
right         right l      -   *  pan right     Pan right by half the window; at the end, follow
fit           0            -   *  whole run     Show the whole run
start         home g       -   *  start         Pan to the start of the run
live          end G        -   *  live edge     Pan to the live edge and follow it
cursor_left   shift+left   -   *  cursor left   Move the cursor left, read values  move_cursor(-1)
cursor_right  shift+right  -   *  cursor right  Move the cursor right  move_cursor(1)
smooth        s            -   *  smoothing     Cycle the smoothing levels; the raw band stays
log           y            -   *  log axis      Switch the y axis: linear, log  toggle_log
axis          x            -   *  x axis        Cycle x axis: step, tokens, time, epoch  next_axis

[spikes]  where: dashboard  group: Run
open  B  -  *  spikes  Inspect the batches of spikes; roll back  spikes

[spikes]  where: spikes
back   b           -  -  roll back  Go back to before this step, skip it; asks first  go_back
leave  escape B q  -  -  close      Go back

[metric]  where: dashboard  group: Metrics
search   /  11  *  search       Show only charts with these words; esc shows all
pin      P  -   *  pin          Pin the focused metric to the first page, or unpin
earlier  <  -   -  pin earlier  Move a pinned chart one place to the front  move_pinned(-1)
later    >  -   -  pin later    Move a pinned chart one place to the back  move_pinned(1)
hide     H  -   *  hide         Hide the focused metric; search still finds it

[view]  where: app  group: View
theme  t  -  *  theme  Switch between the dark and the light theme  app.toggle_theme

[app]  where: app  group: Cockpit
help       ? f1      2  *  help     Show or hide this help  app.help
palette    : ctrl+p  3  -  palette  Find a command, run, metric or setting  app.command_palette
quit       q         1  *  quit     Quit; for a live run, asks to detach or stop  app.request_quit
interrupt  ctrl+c    -  -  quit     Like q, also while typing; twice detaches  app.request_quit

[configure]  where: configure  group: Configure
start         f5              -  *  start         Start the run, or go to the first invalid value
leave         escape q        -  *  cancel        Cancel without starting; asks if anything changed
pick          enter           -  *  pick          Choose from a list, or go to the next field
try           ctrl+t          -  *  benchmark     Time a few throwaway steps, now
load          ctrl+o          -  *  load          Load a TOML file, another run or a recipe stage
save          ctrl+s          -  *  save          Write the settings to a new TOML file
data          f3              -  *  data          Show the data as the model will see them
copy          ctrl+y          -  *  copy          Copy the command line that starts this run
reset         ctrl+r          -  *  default       Reset the field to its default
mark          space           -  *  sweep         Mark several values of a choice, to train each
next_tab      pagedown ]      -  *  next tab      Show the next tab of options
previous_tab  pageup [        -  *  previous tab  Show the previous tab
next          down j tab      -  -  next          Go to the next field; ← → choose  app.focus_next
previous      up k shift+tab  -  -  previous      Go to the previous field  app.focus_previous

[runs]  where: runs  group: Runs
open         enter     2   *  open         Open this run; unfold or fold a group
mark         space     4   -  mark         Mark this run or group, or unmark it
mark_all     A         -   *  mark all     Mark all listed runs, or unmark them
overlay      C         5   *  compare      Overlay the curves of the marked runs
differences  D         6   *  differences  Compare the marked runs: results, settings, seeds
curve        I         5   *  curve        Show the curve of this run, or hide it
filter       /         3   *  filter       Words, or comparisons: lr<1e-3 stage=sft tag=night
sort         o         7   *  sort         Sort by the next column; a click does so, too
reverse      O         -   -  reverse      Reverse the order; a second click does so, too
columns      |         8   *  columns      Choose the columns, settings among them
branch       Y         8   *  tree         Show a list, groups, or the lineage
queue        Q         9   *  sweeps       Sweeps: pause, reorder, cancel trials  app.go('queue')
write        e         10  *  export       Write the marked runs: report, picture, CSV
tag          #         11  *  tag          Give the marked runs tags, or take them away
archive      Z         12  *  archive      Hide the marked runs from the list, or show them again
note         a         8   *  note         Write a note on this run
rename       r         13  *  rename       Rename a run that is not live
resume       R         9   *  resume       Resume an ended run, or show the command; asks first
delete       d delete  14  *  delete       Move the marked runs to .trash; asks first

[queue]  where: queue  group: Sweeps
open    enter     2   *  open         Show this run in the dashboard; unfold or fold a sweep
pause   space     3   *  pause        Pause this sweep, or resume it
curve   I         4   *  curve        Show the curve of this run, or hide it
work    W         4   *  start queue  Work on this sweep in the background
first   U         5   *  run next     Run the trial under the cursor next
drop    d delete  6   *  drop         Drop this trial, or stop it with a checkpoint
seeds   M         7   *  more seeds   Train the best point with more seeds
winner  R         8   *  train on     Train the best run for twice as many steps
cancel  X         9   *  cancel       Cancel the sweep and stop its trials; asks first

[overlay]  where: overlay
close  escape C  1  -  back  Go back

[comparison]  where: comparison  group: Compared runs
next      ] right     2  -  next page      Show results, seeds, answers, evaluations, plots  turn(1)
previous  [ left      -  -  previous page  Show the page before  turn(-1)
x         x           3  -  x axis         Choose the column of the x axis  next_x
y         y           4  -  y axis         Choose the column of the y axis  next_y
close     escape D q  1  -  back           Go back to the list of runs

[checkpoints]  where: checkpoints  group: Checkpoints
pin       P         3  *  pin       Keep this checkpoint permanently, or no longer
curve     I         6  *  curve     Show the curve of this run, or hide it
evaluate  v         4  *  evaluate  Evaluate it in the background, or copy the command
fork      f         5  *  fork      Start a run from it, or copy the command line
convert   e         6  *  export    Write it as a Hugging Face folder or a MiniMind file
check     V         7  *  verify    Verify every file against its checksum
delete    d delete  8  *  delete    Delete it; asks first; a live run keeps its only one

[log]  where: log  group: Log
find      /  3  *  find      Search upwards through the whole file, ignoring case
next      n  4  *  next      Go to the next match, upwards  find_up
previous  N  -  -  previous  Go to the previous match, downwards  find_down
narrow    &  5  *  filter    Show only the lines that contain a text
level     l  5  *  level     Lines shown: all, printed, or warnings and errors
follow    F  6  *  follow    Follow the end of the log, or stop following

[ranks]  where: ranks  group: Ranks
stacks  u  2  *  stacks  Ask all ranks for their stacks and group equal ones
logs    l  3  *  logs    Show the logs of all ranks, equal lines folded

[rank_text]  where: rank_text
leave  escape u q  -  -  close  Go back

[samples]  where: samples  group: Samples
chat    i        2  *  chat       Chat with the live model or a checkpoint  app.go('chat')
tokens  w        3  *  tokens     Show the loss of each token of a text  app.go('tokens')
data    D        9  *  data       Show training rows as the model sees them  app.go('data')
prompt  a        4  *  add        Add a prompt of your own, sampled now and from now on  add
drop    d        8  *  drop       Drop the prompt under the cursor from later samples
again   p        5  *  sample     Sample the usual prompts from the live model now
manner  T        6  *  options    Set temperature, top-p and length of these samples
whole   enter    7  -  full text  Show the full text, or the table again
left    left h   -  -  earlier    Go to an earlier step  aside(-1)
right   right l  -  -  later      Go to a later step  aside(1)
up      up k     -  -  up         Go to the prompt above  move(-1)
down    down j   -  -  down       Go to the prompt below  move(1)
first   home g   -  -  first      Go to the first step  aside(-100000)
last    end G    -  -  last       Go to the newest step and follow it  aside(100000)

[chat]  where: chat  group: Chat
write   i enter  2  *  write     Write to the model; enter sends
model   m        3  *  model     Choose the model: live or a checkpoint  choose
manner  T        4  *  options   Set temperature, top-p and length of the replies
stop    S        5  *  stop      Stop the reply; so does escape
anew    d        6  *  new chat  Clear the conversation and start a new one

[tokens]  where: tokens  group: Token view
left          left h   -  -  left                Go to the token on the left  move(-1)
right         right l  -  -  right               Go to the token on the right  move(1)
up            up k     -  -  up                  Go a line up  line(-1)
down          down j   -  -  down                Go a line down  line(1)
first         home g   -  -  first               Go to the first token  move(-100000)
last          end G    -  -  last                Go to the last token  move(100000)
worst         n        2  *  high loss           Go to the next high-loss token  surprise(1)
worst_before  N        -  -  previous high loss  Go to the previous high-loss token  surprise(-1)
write         i enter  3  *  text                Write the text to score; pasting works too
held_out      v        4  *  validation          Score validation text of the run
model         m        5  *  model               Choose the live model or a checkpoint  choose

[data]  where: data  group: Data
next      right l    2  -  next row      Show the next row  row(1)
previous  left h     -  -  previous row  Show the previous row  row(-1)
first     home       -  -  first row     Show the first row  row(-100000)
last      end        -  -  last row      Show the last of the rows that were read  row(100000)
view      ]          4  -  view          Show a row, the packing, or what is left out  turn_view(1)

[evaluate]  where: evaluate  group: Evaluate
run        v      2  *  run            Evaluate with these settings, in a worker process
change     enter  3  -  change         Change the setting under the cursor
cancel     S      4  *  cancel         Cancel the evaluation; run again, it resumes
view       ]      5  *  view           Show the next view: scores, history, all runs  turn(1)
view_back  [      -  -  previous view  Show the previous view  turn(-1)
metric     n      6  *  metric         Show the next score in history and comparison  metric(1)

[list]  where: list  group: Lists
up         up k      -  -  up         Go a line up  move(-1)
down       down j    -  -  down       Go a line down  move(1)
page_up    pageup    -  -  page up    Go a page up  page(-1)
page_down  pagedown  -  -  page down  Go a page down  page(1)
first      home g    -  -  first      Go to the first line
last       end G     -  -  last       Go to the last line

[dialog]  where: dialog
detach  d       -  -  detach  Quit; training keeps running
stop    s       -  -  stop    Stop after the current step, with a checkpoint
again   q       -  -  detach  Quit at once; training keeps running  app.request_quit
cancel  escape  -  -  stay    Close the dialog
"""

if __name__ == "__main__":
    rows = [line for line in TABLE.splitlines() if line and not line.startswith("[")]
    print(len(rows), "keys")
    assert all(len(line.split("  ")) > 5 for line in rows)
    print("=== 自测通过 ===")
