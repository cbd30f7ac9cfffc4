/** The script of every page. Without it all pages are readable; with it they are live, and verbs work. */
import { drawCharts } from './charts.js';
import { startKeys } from './keys.js';
import { startLive } from './live.js';
import { afterRefresh } from './refresh.js';
import { startSelection } from './selection.js';
import { startTheme } from './theme.js';
import { startTimes } from './times.js';
import { startVerbs } from './verbs.js';

startTheme(drawCharts);
startTimes();
startKeys();
startVerbs();
startSelection();
drawCharts();
afterRefresh(drawCharts);
startLive();
