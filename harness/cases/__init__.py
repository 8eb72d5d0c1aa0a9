"""Cases are what a cell attacks: data sets opened, the sample drawn, and one module per goal of suites."""
