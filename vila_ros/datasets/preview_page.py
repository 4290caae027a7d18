# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The page of preview.html; its data takes the place of __DATA__."""

PAGE = r"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Training data</title>
<link rel="icon" href="data:,">
<style>
:root{--bg:#f6f7f9;--card:#fff;--ink:#14181f;--soft:#5c6675;--line:#e2e6ec;--accent:#2563eb;
--train:#2563eb;--val:#d97706;--gap:#c3c9d3;--shade:0 1px 2px #0f172a14,0 6px 20px #0f172a0d}
@media (prefers-color-scheme:dark){:root:not([data-theme=light]){--bg:#0e1116;--card:#171b22;
--ink:#e8ecf2;--soft:#95a0b0;--line:#272d37;--accent:#6ea0ff;--train:#6ea0ff;--val:#f2a63b;
--gap:#444d5b;--shade:none}}
:root[data-theme=dark]{--bg:#0e1116;--card:#171b22;--ink:#e8ecf2;--soft:#95a0b0;--line:#272d37;
--accent:#6ea0ff;--train:#6ea0ff;--val:#f2a63b;--gap:#444d5b;--shade:none}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1280px;margin:0 auto;padding:28px 20px 80px}
header{display:flex;gap:16px;align-items:flex-start;justify-content:space-between}
h1{font-size:26px;line-height:1.2;margin:0 0 4px;letter-spacing:-.02em}
h2{font-size:16px;margin:36px 0 12px;letter-spacing:-.01em}
h3{font-size:13px;margin:0 0 10px;color:var(--soft);font-weight:600}
.soft{color:var(--soft)}
button,select,input{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);
border-radius:8px;padding:6px 12px}
button{cursor:pointer}button:hover{border-color:var(--accent)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(132px,1fr));gap:12px;margin-top:20px}
.tile,.panel,.sample{background:var(--card);border:1px solid var(--line);border-radius:12px;
box-shadow:var(--shade)}
.tile{padding:14px 16px}.tile b{display:block;font-size:24px;letter-spacing:-.02em}
.tile span{color:var(--soft);font-size:13px}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:12px}
.panel{padding:16px;min-width:0}
.bar{display:grid;grid-template-columns:minmax(60px,46%) 1fr auto;gap:8px;align-items:center;
font-size:13px;margin:5px 0}
.bar .name{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.bar .track{height:10px;border-radius:5px;background:var(--line);display:flex;overflow:hidden}
.bar .track i{display:block;height:100%}
.bar .number{font-variant-numeric:tabular-nums;color:var(--soft)}
.train{background:var(--train)}.val{background:var(--val)}.gap{background:var(--gap)}
.key{display:inline-flex;gap:6px;align-items:center;margin-right:14px;font-size:13px;
color:var(--soft)}.key i{width:10px;height:10px;border-radius:3px}
.time{display:flex;height:16px;border-radius:5px;overflow:hidden;background:var(--line)}
.columns{display:flex;align-items:flex-end;gap:2px;height:84px}
.columns i{flex:1;background:var(--accent);border-radius:3px 3px 0 0;min-height:1px;opacity:.85}
.axis{display:flex;justify-content:space-between;font-size:12px;color:var(--soft);margin-top:4px}
.tools{display:flex;flex-wrap:wrap;gap:8px;align-items:center;margin-bottom:14px}
.tools input{flex:1;min-width:180px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(240px,1fr));gap:14px}
.sample{padding:0;text-align:left;overflow:hidden;display:flex;flex-direction:column;width:100%}
.sample:hover{transform:translateY(-1px)}
.media{position:relative;aspect-ratio:16/10;background:#000;width:100%;display:grid;gap:1px}
.media img{width:100%;height:100%;object-fit:cover;display:block;min-height:0;min-width:0}
.media.two{grid-template-columns:1fr 1fr}.media.four{grid-template:1fr 1fr/1fr 1fr}
.none{display:grid;place-items:center;color:#fff9;background:#000;font-size:13px;min-height:0}
.shots .none{width:240px;height:200px;border-radius:8px}
.tags{position:absolute;left:8px;bottom:8px;display:flex;gap:4px;flex-wrap:wrap}
.tag{font-size:11px;font-weight:600;line-height:1;padding:4px 7px;border-radius:6px;color:#fff;
background:#0009;backdrop-filter:blur(4px)}
.tag.train{background:#1d4ed8}.tag.val{background:#b45309}
.text{padding:12px 14px 14px;display:flex;flex-direction:column;gap:6px;min-width:0}
.text p{margin:0;display:-webkit-box;-webkit-line-clamp:3;-webkit-box-orient:vertical;
overflow:hidden;overflow-wrap:anywhere}
.text .q{color:var(--soft);font-size:13px}
.empty{padding:40px;text-align:center;color:var(--soft)}
dialog{border:1px solid var(--line);border-radius:14px;background:var(--card);color:var(--ink);
max-width:860px;width:calc(100% - 32px);padding:0;max-height:90vh}
dialog::backdrop{background:#0009}
.head{display:flex;justify-content:space-between;gap:12px;padding:16px 20px;
border-bottom:1px solid var(--line);position:sticky;top:0;background:var(--card)}
.head b{overflow-wrap:anywhere}
.body{padding:16px 20px 22px}.shots{display:flex;gap:8px;overflow-x:auto;padding-bottom:8px}
.shots figure{margin:0;flex:0 0 auto}.shots img{height:200px;border-radius:8px;display:block}
.shots figcaption{font-size:12px;color:var(--soft);max-width:320px}
.turn{padding:10px 14px;border-radius:10px;margin:8px 0;white-space:pre-wrap;
overflow-wrap:anywhere;background:var(--bg)}
.turn b{display:block;font-size:12px;color:var(--soft);font-weight:600}
.turn.assistant{border-left:3px solid var(--accent)}
table{border-collapse:collapse;width:100%;font-size:13px}td{padding:4px 8px 4px 0;
vertical-align:top;overflow-wrap:anywhere;border-top:1px solid var(--line)}
td:first-child{color:var(--soft);white-space:nowrap;width:1%}
@media (prefers-reduced-motion:no-preference){.sample{transition:transform .12s}}
@media print{.tools,#theme{display:none}}
</style></head><body><main>
<header><div><h1 id="title"></h1><div class="soft" id="subtitle"></div></div>
<button id="theme" type="button" aria-label="Change between light and dark">Light / dark</button>
</header>
<section class="tiles" id="tiles" aria-label="Totals"></section>
<h2>Split</h2><section class="panel" id="split"></section>
<h2>Distributions</h2><section class="panels" id="charts"></section>
<h2>Samples <span class="soft" id="shown"></span></h2>
<div class="tools">
<input id="search" type="search" placeholder="Search in questions and answers"
 aria-label="Search in questions and answers">
<select id="by-split" aria-label="Split"></select>
<select id="by-rule" aria-label="Rule"></select>
<select id="by-kind" aria-label="Media"></select>
<button id="clear" type="button">Clear</button></div>
<section class="grid" id="grid"></section>
<dialog id="detail" aria-labelledby="detail-title"><div class="head"><b id="detail-title"></b>
<div><button id="before" type="button" aria-label="Sample before">←</button>
<button id="after" type="button" aria-label="Next sample">→</button>
<button id="close" type="button">Close</button></div></div>
<div class="body" id="detail-body"></div></dialog>
</main>
<script id="data" type="application/json">__DATA__</script>
<script>
"use strict";
const data=JSON.parse(document.getElementById("data").textContent),sum=data.summary;
const $=id=>document.getElementById(id);
function el(tag,attrs,...children){const e=document.createElement(tag);
 for(const[k,v]of Object.entries(attrs||{}))k==="class"?e.className=v:e.setAttribute(k,v);
 for(const c of children)if(c!==null&&c!==undefined)e.append(c);return e}
const int=n=>n.toLocaleString("en");
const short=n=>Number.isInteger(n)?int(n):Number(n.toPrecision(4)).toString();
function bytes(n){const u=["B","kB","MB","GB","TB"];let i=0;while(n>=1000&&i<4){n/=1000;i++}
 return`${n<10&&i?n.toFixed(1):Math.round(n)} ${u[i]}`}
function duration(ns){const s=Math.round(ns/1e9);return s<60?`${s} s`:s<3600?
 `${Math.floor(s/60)} min ${s%60} s`:`${Math.floor(s/3600)} h ${Math.floor(s%3600/60)} min`}

document.title=`${data.name}: training data`;
$("title").textContent=data.name;
const recorded=sum.recordings.reduce((t,r)=>t+(r.end_ns-r.start_ns),0);
$("subtitle").textContent=`${sum.format} format, from ${sum.recordings.length} `+
 `recording${sum.recordings.length===1?"":"s"} of ${duration(recorded)}`;
const lost=Object.values(sum.left_out).reduce((a,b)=>a+b,0);
for(const[n,t]of[[int(sum.samples.total),"samples"],[int(sum.samples.train),"for training"],
 [int(sum.samples.val),"for validation"],[int(sum.pictures.files),"pictures"],
 [bytes(sum.pictures.bytes),"of pictures"],[int(sum.pictures.copied),"copied as recorded"],
 [int(sum.pictures.blurred),"blurred"],[int(lost),"left out"]])
 $("tiles").append(el("div",{class:"tile"},el("b",{},n),el("span",{},t)));

const keys=el("div",{});
for(const[c,t]of[["train","training"],["val","validation"],["gap","gap, unused"]])
 keys.append(el("span",{class:"key"},el("i",{class:c}),t));
$("split").append(keys);
for(const r of sum.recordings){const whole=Math.max(1,r.end_ns-r.start_ns);
 const time=el("div",{class:"time",role:"img","aria-label":`${r.name}: `+r.parts.map(p=>
  `${p.part} ${duration(p.to_ns-p.from_ns)}`).join(", ")});
 for(const p of r.parts)time.append(el("i",{class:p.part,
  title:`${p.part}, ${duration(p.to_ns-p.from_ns)}`,
  style:`width:${100*(p.to_ns-p.from_ns)/whole}%`}));
 const n=sum.by_recording[r.name]||{train:0,val:0};
 $("split").append(el("div",{style:"margin-top:12px"},el("div",{style:
  "display:flex;justify-content:space-between;font-size:13px;margin-bottom:4px;gap:12px"},
  el("span",{},r.name,el("span",{class:"soft"}," "+Object.keys(r.cameras).join(", "))),
  el("span",{class:"soft"},`${duration(whole)}, ${int(n.train)} + ${int(n.val)}`)),time))}

function panel(title,...children){const p=el("div",{class:"panel"},el("h3",{},title),...children);
 $("charts").append(p)}
function bars(rows){const most=Math.max(1,...rows.map(r=>r[1].reduce((a,b)=>a+b,0)));
 const box=el("div",{});
 for(const[name,[train,val=0]]of rows)box.append(el("div",{class:"bar"},
  el("span",{class:"name",title:name},name),el("span",{class:"track"},
  el("i",{class:"train",style:`width:${100*train/most}%`}),
  el("i",{class:"val",style:`width:${100*val/most}%`})),
  el("span",{class:"number"},int(train+val))));
 return box}
function columns(counts,low,high,label){const most=Math.max(1,...counts);
 const box=el("div",{class:"columns",role:"img","aria-label":label});
 for(const c of counts)box.append(el("i",{style:`height:${100*c/most}%`,title:int(c)}));
 return[box,el("div",{class:"axis"},el("span",{},low),el("span",{},high))]}
const table=t=>Object.entries(t).map(([k,v])=>[k,[v.train,v.val]]);
panel("Samples by rule",bars(table(sum.by_rule)));
panel("Samples by source",bars(table(sum.by_source)));
panel("Samples by media",bars(table(sum.by_kind)));
panel("Sizes of pictures",bars(Object.entries(sum.sizes).map(([k,v])=>[k,[v]])));
const words=sum.answer_words,end=words.count.reduce((last,c,i)=>c?i:last,0)+1;
panel("Words in answers",...columns(words.count.slice(0,end),"1",end<words.count.length?
 `fewer than ${words.from[end]}`:`${words.from.at(-1)} and more`,
 "Answers by their number of words"));
for(const[name,v]of Object.entries(sum.values))
 panel(`Value: ${name} (mean ${short(v.mean)})`,...columns(v.histogram,short(v.low),short(v.high),
  `Course of ${name}`));
for(const[rule,a]of Object.entries(sum.answers))
 panel(`Answers of ${rule} (${int(a.different)} different)`,
  bars(a.most_common.slice(0,8).map(([k,v])=>[k,[v]])));
if(lost)panel("Left out",bars(Object.entries(sum.left_out).map(([k,v])=>[k,[v]])));

for(const[id,key,all]of[["by-split","split","All splits"],["by-rule","rule","All rules"],
 ["by-kind","kind","All media"]]){
 $(id).append(el("option",{value:""},all));
 for(const v of[...new Set(data.samples.map(s=>s[key]))].sort())
  $(id).append(el("option",{value:v},v));
 $(id).addEventListener("change",draw)}
let visible=[],current=0;
function draw(){const text=$("search").value.toLowerCase();
 visible=data.samples.filter(s=>(!$("by-split").value||s.split===$("by-split").value)&&
  (!$("by-rule").value||s.rule===$("by-rule").value)&&
  (!$("by-kind").value||s.kind===$("by-kind").value)&&
  (!text||s.turns.some(t=>t[1].toLowerCase().includes(text))));
 $("shown").textContent=`${visible.length} of ${int(sum.samples.total)}`;
 $("grid").replaceChildren(...visible.map((s,i)=>card(s,i)));
 if(!visible.length)$("grid").append(el("div",{class:"empty"},"No sample matches."))}
function picture(src,alt){return src?el("img",{src,alt,loading:"lazy"}):
 el("div",{class:"none"},"cannot be decoded")}
function card(s,i){const n=s.pictures.length,few=n<2?1:n<4?2:4;
 const step=few>1?(n-1)/(few-1):0;
 const media=el("div",{class:`media ${few===2?"two":few===4?"four":""}`});
 for(let k=0;k<few;k++)media.append(picture(s.pictures[Math.round(k*step)],""));
 const tags=el("div",{class:"tags"},el("span",{class:`tag ${s.split}`},s.split),
  el("span",{class:"tag"},s.rule));
 if(s.count>1)tags.append(el("span",{class:"tag"},
  s.kind==="video"?`clip of ${s.count}`:`${s.count} pictures`));
 media.append(tags);
 const q=s.turns.find(t=>t[0]==="user")[1],a=s.turns.find(t=>t[0]==="assistant")[1];
 const b=el("button",{class:"sample",type:"button","aria-label":`${s.rule}: ${q}`},media,
  el("div",{class:"text"},el("p",{class:"q"},q),el("p",{},a)));
 b.addEventListener("click",()=>show(i));return b}
function show(i){current=(i+visible.length)%visible.length;const s=visible[current];
 $("detail-title").textContent=s.id;
 const shots=el("div",{class:"shots"});
 s.pictures.forEach((p,k)=>{const f=s.frames[k];shots.append(el("figure",{},
  picture(p,`${f.camera}, picture ${k+1}`),el("figcaption",{},
  [f.camera,`${f.stamp_ns} ns`,f.size,f.copied&&"copied",f.blurred&&"blurred"]
  .filter(Boolean).join(", "))))});
 const turns=s.turns.map(([role,text])=>el("div",{class:`turn ${role}`},el("b",{},role),text));
 const rows=[["recording",s.recording],["split",s.split],["source",s.source],["rule",s.rule],
  ["media",`${s.count} (${s.kind})`],["file",s.frames[0].file],["topic",s.frames[0].topic],
  ...Object.entries(s.values).map(([k,v])=>[k,typeof v==="number"?short(v):v]),
  ...Object.entries(s.provenance).map(([k,v])=>[k,typeof v==="object"?JSON.stringify(v):v])];
 const t=el("table",{});for(const[k,v]of rows)t.append(el("tr",{},el("td",{},k),
  el("td",{},String(v))));
 $("detail-body").replaceChildren(shots,...turns,el("h3",{style:"margin-top:18px"},"Provenance"),t);
 $("detail-body").scrollTop=0;if(!$("detail").open)$("detail").showModal()}
$("before").addEventListener("click",()=>show(current-1));
$("after").addEventListener("click",()=>show(current+1));
$("close").addEventListener("click",()=>$("detail").close());
$("detail").addEventListener("keydown",e=>{if(e.key==="ArrowLeft")show(current-1);
 if(e.key==="ArrowRight")show(current+1)});
$("detail").addEventListener("click",e=>{if(e.target===$("detail"))$("detail").close()});
$("search").addEventListener("input",draw);
$("clear").addEventListener("click",()=>{for(const id of["search","by-split","by-rule","by-kind"])
 $(id).value="";draw()});
$("theme").addEventListener("click",()=>{const dark=document.documentElement.dataset.theme?
 document.documentElement.dataset.theme==="dark":matchMedia("(prefers-color-scheme:dark)").matches;
 document.documentElement.dataset.theme=dark?"light":"dark"});
draw();
</script></body></html>
"""
