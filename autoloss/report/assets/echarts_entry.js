// What the report uses of Apache ECharts; see README.md beside the bundle for how it is built.
export { init, use, graphic } from "echarts/core";
import { use } from "echarts/core";
import { LineChart, ScatterChart, BarChart, HeatmapChart, ParallelChart } from "echarts/charts";
import { GridComponent, TooltipComponent, LegendPlainComponent, LegendScrollComponent, ParallelComponent, VisualMapContinuousComponent, DataZoomInsideComponent, MarkLineComponent, TitleComponent, AriaComponent } from "echarts/components";
import { CanvasRenderer } from "echarts/renderers";
import { LegacyGridContainLabel } from "echarts/features";
use([LineChart, ScatterChart, BarChart, HeatmapChart, ParallelChart, GridComponent, TooltipComponent, LegendPlainComponent, LegendScrollComponent, ParallelComponent, VisualMapContinuousComponent, DataZoomInsideComponent, MarkLineComponent, TitleComponent, AriaComponent, CanvasRenderer, LegacyGridContainLabel]);
