package org.voloedge.core

import java.io.File
import java.time.Instant
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class MeasureTest {
    @get:Rule val temporary = TemporaryFolder()

    private val artifact = Artifact.read(Goldens.artifact)
    private val answers = artifact.manifest.cases.map { artifact.floats(it.logits) }

    @Test
    fun theLikeliestClassesAreTheHosts() {
        for (case in Goldens.objects("likeliest")) {
            val logits = case.getJSONArray("logits").doubles().map { it.toFloat() }.toFloatArray()
            val activation = Activation.valueOf(case.getString("activation").uppercase())
            val guesses = likeliest(logits, logits.indices.map { "class $it" }, activation)
            val expected = case.getJSONArray("expected").objects()
            assertEquals(expected.map { it.getInt("index") }, guesses.map { it.index })
            for ((guess, known) in guesses.zip(expected)) {
                assertEquals("class ${guess.index}", guess.label)
                assertEquals(known.getDouble("probability"), guess.probability, 1e-9)
            }
        }
    }

    @Test
    fun independentLabelsAgreeWhereTheSameAreLikely() {
        val (host, device) = floatArrayOf(3f, -1f, 0.5f) to floatArrayOf(0.1f, -0.1f, 2f)
        assertTrue(Activation.SIGMOID.agree(device, host))
        assertFalse(Activation.SOFTMAX.agree(device, host))
        assertFalse(Activation.SIGMOID.agree(floatArrayOf(3f, 1f, 0.5f), host))
        assertTrue(Activation.SOFTMAX.agree(floatArrayOf(3f, 1f, 0.5f), host))
        assertTrue(Activation.SOFTMAX.agree(floatArrayOf(-0f, 0f), floatArrayOf(0f, -0f)))
    }

    @Test
    fun latenciesAreSummedUpAsByTheHost() {
        for (case in Goldens.objects("latencies")) {
            val made = Latency.of(case.getJSONArray("latencies").doubles())
            val expected = case.getJSONObject("expected")
            assertEquals(expected.getDouble("min"), made.min, 1e-9)
            assertEquals(expected.getDouble("mean"), made.mean, 1e-9)
            assertEquals(expected.getDouble("median"), made.median, 1e-9)
            assertEquals(expected.getDouble("p90"), made.p90, 1e-9)
            assertEquals(expected.getDouble("p99"), made.p99, 1e-9)
        }
    }

    @Test
    fun anEngineThatAnswersAsTheHostPasses() {
        val result = selfTest(artifact, Goldens.engine(answers), Goldens::decode)
        assertTrue(result.passed)
        assertEquals(0.0, result.relativeError, 0.0)
        assertEquals(listOf(0.0, 0.0), result.cases.map { it.tensorMaxDifference })
        assertEquals(artifact.manifest.cases.map { it.label }, result.cases.map { artifact.labels[it.predicted] })
        assertTrue(result.cases.all { it.passed && it.agrees && it.expected == it.predicted })
    }

    @Test
    fun theErrorIsRelativeToTheHostsLogits() {
        val far = answers.map { logits -> FloatArray(logits.size) { logits[it] * 1.25f } }
        val result = selfTest(artifact, Goldens.engine(far), Goldens::decode)
        assertEquals(0.25, result.relativeError, 1e-6)
        assertFalse(result.passed)
        assertTrue(result.cases.none { it.passed })
        val near = answers.map { logits -> FloatArray(logits.size) { logits[it] * 1.0005f } } // of 1e-3 allowed
        assertTrue(selfTest(artifact, Goldens.engine(near), Goldens::decode).passed)
    }

    @Test
    fun anAnswerThatIsNoNumberFailsAndCanBeWrittenDown() {
        val broken = answers.map { logits -> FloatArray(logits.size) { Float.NaN } }
        val result = selfTest(artifact, Goldens.engine(broken), Goldens::decode)
        assertFalse(result.passed)
        assertEquals(Double.MAX_VALUE, result.relativeError, 0.0)
        results(result, null).toJson()
    }

    @Test
    fun aTensorMoreThanOneLevelOffFails() {
        val off = { file: File ->
            val pixels = Goldens.decode(file)
            Pixels(ByteArray(pixels.bytes.size) { (255 - pixels.bytes[it]).toByte() }, pixels.width, pixels.height)
        }
        val result = selfTest(artifact, Goldens.engine(answers), off)
        assertFalse(result.passed)
        assertEquals(0.0, result.relativeError, 0.0)
        assertTrue(result.cases.all { it.tensorMaxDifference > 1 && !it.passed })
    }

    @Test
    fun aPhotographIsClassified() {
        val pixels = Goldens.decode(artifact.file(artifact.manifest.cases[1].photo))
        val made = classify(pixels, artifact, Goldens.engine(answers.takeLast(1)))
        assertEquals(artifact.manifest.cases[1].label, made.guesses.first().label)
        assertEquals(5, made.guesses.size)
        assertEquals(Activation.SOFTMAX, made.activation)
        assertEquals(1.0, made.modelMs, 0.0)
    }

    @Test
    fun aGreyModelOfIndependentLabelsIsGivenOneChannelAndIsNotNormalized() {
        val text = JSONObject(File(Goldens.artifact, Manifest.NAME).readText())
        text.getJSONObject("model").put("activation", "sigmoid")
        text.getJSONObject("preprocessing").put("color", "L")
        Goldens.artifact.copyRecursively(temporary.root)
        File(temporary.root, Manifest.NAME).writeText(text.toString())

        val sizes = mutableListOf<Int>()
        val answering = Goldens.engine(listOf(FloatArray(7) { 2f }))
        val engine = object : Engine by answering {
            override fun run(input: FloatArray) = answering.run(input).also { sizes += input.size }
        }
        val made = classify(Goldens.decode(artifact.file("selftest/0.png")), Artifact.read(temporary.root), engine)
        assertEquals(listOf(24 * 20), sizes)
        assertEquals(Activation.SIGMOID, made.activation)
        for (guess in made.guesses) assertEquals(0.880797077978, guess.probability, 1e-9) // and 1/7 in a softmax
    }

    @Test
    fun aBenchmarkTimesTheRunsAfterTheWarmUp() {
        val result = benchmark(Goldens.engine(answers), 5.5, floatArrayOf(1f), 3, 4, platform) {}
        assertEquals(listOf(4.0, 5.0, 6.0, 7.0), result.latencies)
        assertEquals(Thermal.FAIR, result.thermalBefore)
        assertEquals(12345L, result.peakMemoryBytes)
    }

    @Test
    fun progressIsToldTenTimes() {
        fun told(runs: Int): List<Int> = buildList {
            benchmark(Goldens.engine(answers), 5.5, floatArrayOf(1f), 0, runs, platform) { add(it) }
        }
        assertEquals((10..100 step 10).toList(), told(100))
        assertEquals(listOf(1, 2, 3), told(3))
    }

    @Test
    fun aCommandSaysHowToMeasure() {
        fun options(vararg arguments: Pair<String, String>) = MeasureOptions.of(arguments.toMap()::get)
        fun refusal(vararg arguments: Pair<String, String>) =
            assertThrows(IllegalArgumentException::class.java) { options(*arguments) }.message
        assertEquals(MeasureOptions(), options())
        val made = options("runs" to "7", "warmup" to "0", "threads" to "2", "something" to "yes")
        assertEquals(MeasureOptions(warmup = 0, runs = 7, threads = 2), made)
        assertEquals("runs takes a whole number from 1 on, not 'abc'", refusal("runs" to "abc"))
        assertEquals("runs takes a whole number from 1 on, not '0'", refusal("runs" to "0"))
        assertEquals("warmup takes a whole number from 0 on, not '-1'", refusal("warmup" to "-1"))
        assertEquals("threads takes a whole number from 1 on, not '2.5'", refusal("threads" to "2.5"))
    }

    @Test
    fun thePlatformsWordsAreRead() {
        val levels = listOf(-1, 0, 1, 2, 3, 4, 6).map { Thermal.of(it).name.lowercase() }
        assertEquals(listOf("unknown", "nominal", "fair", "fair", "serious", "critical", "critical"), levels)
        assertEquals(2048L * 1024, peakMemoryBytes("Name:\tapp\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n"))
        assertEquals(null, peakMemoryBytes("Name:\tapp\n"))
    }

    @Test
    fun theResultsFileHoldsEveryField() {
        val selfTest = selfTest(artifact, Goldens.engine(answers), Goldens::decode)
        val benchmark = BenchmarkResult(2, 5.5, listOf(2.0, 1.0), Thermal.NOMINAL, Thermal.UNKNOWN, null)
        val json = JSONObject(results(selfTest, benchmark).toJson())
        System.getenv("VOLO_EDGE_RESULTS")?.let { File(it).writeText(json.toString(2)) } // for the host to read
        assertEquals("2026-11-22T12:00:00Z", json.getString("made_at"))
        assertEquals("android", json.getJSONObject("app").getString("platform"))
        assertTrue(json.getJSONObject("device").isNull("chip"))
        assertEquals(artifact.manifest.file("model").sha256, json.getJSONObject("artifact").getString("model_sha256"))
        assertEquals(2, json.getJSONObject("engine").getInt("threads"))
        assertEquals(1.5, json.getJSONObject("benchmark").getDouble("median_ms"), 0.0)
        assertEquals("nominal", json.getJSONObject("benchmark").getString("thermal_before"))
        assertEquals(2, json.getJSONObject("selftest").getJSONArray("cases").length())
        val neither = JSONObject(results(null, null).toJson())
        assertTrue(neither.isNull("selftest") && neither.isNull("benchmark"))
    }

    private val platform = object : Platform {
        override val app = AppInfo("VoloEdge", "0.1.0")
        override val device = DeviceInfo("Maker", "Model 1", "Android", "16", null)
        override fun decode(file: File) = Goldens.decode(file)
        override fun thermal() = Thermal.FAIR
        override fun peakMemoryBytes() = 12345L
        override fun load(artifact: Artifact, threads: Int?) = Goldens.engine(answers)
    }

    private fun results(selfTest: SelfTestResult?, benchmark: BenchmarkResult?) = Results(
        app = platform.app,
        device = platform.device,
        manifest = artifact.manifest,
        engine = Goldens.engine(answers).info,
        selfTest = selfTest,
        benchmark = benchmark,
        madeAt = Instant.parse("2026-11-22T12:00:00.123Z"),
    )
}
