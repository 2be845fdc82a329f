/* Figures and tables of the book. Data lie in the page as JSON; one Plotly and one DataTables serve all pages and are
   loaded, by script tags that also work from file://, only where there is something to draw. */
(function () {
  "use strict";
  const here = document.currentScript.src;
  const pending = {};

  function load(path) {
    if (!pending[path]) {
      pending[path] = new Promise(function (resolve, reject) {
        const amd = window.define; // hidden while loading, so that the libraries set their globals
        window.define = undefined;
        const tag = document.createElement("script");
        tag.src = new URL(path, here).href;
        tag.onload = function () { window.define = amd; resolve(); };
        tag.onerror = function () { window.define = amd; reject(new Error("cannot load " + path)); };
        document.head.appendChild(tag);
      });
    }
    return pending[path];
  }

  function data(element) {
    return JSON.parse(element.querySelector('script[type="application/json"]').textContent);
  }

  /* ---- figures ---- */

  function template() {
    const style = getComputedStyle(document.documentElement);
    const dark = document.documentElement.dataset.theme === "dark";
    const text = style.getPropertyValue("--pst-color-text-base").trim() || (dark ? "#ddd" : "#222");
    const back = style.getPropertyValue("--pst-color-background").trim() || (dark ? "#14181e" : "#fff");
    const grid = dark ? "rgba(255,255,255,.16)" : "rgba(0,0,0,.12)";
    const t = JSON.parse(JSON.stringify(window.biosaeTemplate || { layout: {} }));
    const axis = Object.assign({}, t.layout.xaxis, { gridcolor: grid, zerolinecolor: grid, linecolor: grid });
    Object.assign(t.layout, { xaxis: axis, yaxis: axis });
    t.layout.font = Object.assign({}, t.layout.font, { color: text });
    t.layout.hoverlabel = Object.assign({}, t.layout.hoverlabel, { bgcolor: back, bordercolor: text, font: { color: text } });
    t.layout.legend = Object.assign({}, t.layout.legend, { bgcolor: "rgba(0,0,0,0)" });
    return t;
  }

  function draw(figure) {
    if (figure.dataset.drawn) return;
    figure.dataset.drawn = "yes";
    const plot = figure.querySelector(".biosae-plotly");
    const content = data(figure);
    const layout = Object.assign({}, content.layout, { template: template(), autosize: true });
    load("plotly.min.js").then(function () {
      return window.Plotly.newPlot(plot, content.data, layout, { responsive: true, displaylogo: false });
    }).then(function () {
      plot.classList.remove("pending");
      plot.on("plotly_click", function (event) {
        const p = event.points[0];
        document.dispatchEvent(new CustomEvent("biosae:click", {
          detail: { figure: figure.dataset.name, x: p.x, y: p.y, customdata: p.customdata, label: p.hovertext },
        }));
      });
    }).catch(function (error) {
      plot.textContent = "This figure could not be drawn: " + error.message;
      console.error(error);
    });
  }

  function figures() {
    const all = document.querySelectorAll(".biosae-figure");
    if (!all.length) return;
    if ("IntersectionObserver" in window) {
      const seen = new IntersectionObserver(function (entries) {
        entries.forEach(function (e) { if (e.isIntersecting) { seen.unobserve(e.target); draw(e.target); } });
      }, { rootMargin: "600px" });
      all.forEach(function (f) { f.querySelector(".biosae-plotly").classList.add("pending"); seen.observe(f); });
    } else {
      all.forEach(draw);
    }
    new MutationObserver(function () {
      document.querySelectorAll(".biosae-plotly.js-plotly-plot").forEach(function (plot) {
        window.Plotly.relayout(plot, { template: template() });
      });
    }).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    window.addEventListener("beforeprint", function () { all.forEach(draw); });
    document.addEventListener("toggle", function () { window.dispatchEvent(new Event("resize")); }, true);
  }

  /* ---- tables ---- */

  function tables() {
    const all = document.querySelectorAll(".biosae-table");
    if (!all.length) return;
    const sheet = document.createElement("link");
    sheet.rel = "stylesheet";
    sheet.href = new URL("vendor/datatables/dataTables.min.css", here).href;
    document.head.insertBefore(sheet, document.head.firstChild);
    load("vendor/datatables/jquery.min.js")
      .then(function () { return load("vendor/datatables/dataTables.min.js"); })
      .then(function () {
        all.forEach(function (element) {
          const content = data(element);
          const table = new window.DataTable(element.querySelector("table"), {
            data: content.data,
            columns: content.columns.map(function (c) {
              return {
                title: c.title, type: c.numeric ? "num" : "string", defaultContent: "", render: window.DataTable.render.text(),
                createdCell: function (cell, value) { if (String(value).length > 40) cell.classList.add("long"); },
              };
            }),
            order: [],
            pageLength: 10,
            deferRender: true,
            scrollX: true,
            language: { search: "Search", lengthMenu: "_MENU_ rows a page", info: "_START_ to _END_ of _TOTAL_" },
          });
          document.addEventListener("toggle", function () { table.columns.adjust(); }, true);
          const scroll = element.querySelector(".dt-scroll-body");
          if (scroll) { scroll.tabIndex = 0; scroll.setAttribute("role", "region"); scroll.setAttribute("aria-label", content.caption); }
          element.dataset.drawn = "yes";
        });
      })
      .catch(function (error) { console.error(error); });
  }

  function start() { figures(); tables(); }
  window.biosae = { load: load, template: template };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start); else start();
})();
